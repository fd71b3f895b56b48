#!/bin/sh
# refuses.sh: does this member refuse to write, for want of room? It has to answer first; then it is written to until it ends, or
# its unit has said "no space left". Runs on the host.
set -eu
export ETCDCTL_API=3
unset ETCDCTL_ENDPOINTS ETCDCTL_DIAL_TIMEOUT ETCDCTL_COMMAND_TIMEOUT
here=127.0.0.1:${ETCD_PORT:-2379}
# What was said since the disk was filled, or while it was.
since=@$(($(stat -c %Y "${1:?the folder on the disk that was filled}/.pisaura-$PISAURA_CASE") - 3))
is_full() { journalctl -q -u etcd --since "$since" | grep -qi 'no space left'; }
tries=0
until is_full; do
    tries=$((tries + 1))
    [ $tries -le 300 ] || { echo "it goes on writing: is its data elsewhere?"; exit 1; }
    head -c 1000000 /dev/zero | tr '\0' x |
        timeout 5 etcdctl --endpoints="$here" --command-timeout=3s put "pisaura/$PISAURA_CASE/disk" >/dev/null 2>&1 || sleep 0.1
done
