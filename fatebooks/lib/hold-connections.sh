#!/bin/sh
# hold-connections.sh PORT COUNT [ADDRESS]: so many idle TCP connections to this port of this host (127.0.0.1, or another of its addresses)
# are opened and kept, as clients that leak them do. drop-connections.sh undoes it. Needs bash. Where fewer are taken, that is no
# failure of ours, as long as one is.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ $# -ge 2 ] || { sed -n '2s/^# //p' "$0" >&2; exit 1; }
command -v bash >/dev/null || { echo "there is no bash here" >&2; exit 1; }
port=$1 count=$2 address=${3:-127.0.0.1}
holders() { grep -lsz "^PISAURA_HOLDS=connections-$PISAURA_CASE\$" /proc/[0-9]*/environ | cut -d/ -f3; }
[ -z "$(holders)" ] || exit 0
# shellcheck disable=SC2016
bash -c ': <>"/dev/tcp/$1/$2"' try "$address" "$port" 2>/dev/null ||
    { echo "nobody listens at port $port of $address" >&2; exit 1; }
# Each process may have only so many files open, so there may be several.
# shellcheck disable=SC2016
while [ "$count" -gt 0 ]; do
    PISAURA_HOLDS=connections-$PISAURA_CASE setsid bash -c '
        ulimit -n $(($3 + 50)) 2>/dev/null || true
        for ((at = 0; at < $3; at++)); do exec {held}<>"/dev/tcp/$1/$2" || sleep 0.2; done 2>/dev/null
        exec sleep 86400' hold "$address" "$port" "$((count < 500 ? count : 500))" </dev/null >/dev/null 2>&1 &
    count=$((count - 500))
done
tries=0
until [ -n "$(holders)" ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "no connection is held" >&2; exit 1; }
    sleep 0.1
done
