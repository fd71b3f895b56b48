#!/bin/sh
# health.sh --step=N: is this etcd a store that answers? A client that asks one member after the other writes a key and reads
# it back. Before the failure and after it every member has to answer. Exit 0 only if a key was really written and read.
# Lists of hosts are words on purpose.
# shellcheck disable=SC2086
set -eu
# shellcheck source=fatebooks/etcd/cluster.sh
. "${0%/*}/cluster.sh"
step=${1#--step=}
key=$keys/health
value=$step-$(date +%s%N)

written=''
# Who is broken comes last, so that the time until there is an answer is etcd's and not the client's.
for host in $others $targets; do
    if ask "$host" put "$key" "$value" >/dev/null && [ "$(ask "$host" get "$key" --print-value-only)" = "$value" ]; then
        written=$host
        break
    fi
done
[ -n "$written" ] || { echo "no member could be written to and read from:" $others $targets >&2; exit 1; }
echo "$written: written and read back"
[ "$step" != 2 ] || exit 0
for host in $hosts; do
    [ "$(ask "$host" get "$key" --print-value-only)" = "$value" ] || { echo "$host: this member does not answer" >&2; exit 1; }
done
