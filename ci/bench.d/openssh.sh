#!/bin/sh
# The benchmark's cases with OpenSSH alone: openssh.sh CONFIG FOLDER CASES. The config calls the host `bench`.
set -eu
config=$1 folder=$2 cases=$3

ssh -F "$config" -fMN bench
trap 'ssh -F "$config" -O exit bench' EXIT
scp -q -F "$config" "$folder/inducer.sh" "$folder/reverter.sh" bench:
while [ "$cases" -gt 0 ]; do
    "$folder/healthcheck.sh"
    ssh -F "$config" bench ./inducer.sh
    "$folder/healthcheck.sh"
    ssh -F "$config" bench ./reverter.sh
    "$folder/healthcheck.sh"
    cases=$((cases - 1))
done
