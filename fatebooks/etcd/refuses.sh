#!/bin/sh
# refuses.sh: does this member refuse to write? Writes through it until it does. Runs on the host.
set -eu
tries=0
while head -c 65536 /dev/zero | tr '\0' x | ETCDCTL_API=3 timeout 5 etcdctl --endpoints="127.0.0.1:${ETCD_PORT:-2379}" \
    --command-timeout=3s put "pisaura/$PISAURA_CASE/disk" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "it goes on writing: is its data elsewhere?"; exit 1; }
done
