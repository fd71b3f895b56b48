#!/bin/sh
# runs-full.sh UNIT FOLDER: writes to the cluster until the log of this server finds no more room: it takes its room in large pieces, and
# has one of them. Succeeds once the server has said so. Runs on the host.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
client=$(command -v zkCli.sh || echo /usr/share/zookeeper/bin/zkCli.sh)
# What was said since the disk of this folder was filled, or while it was.
since=@$(($(stat -c %Y "$2/.pisaura-$PISAURA_CASE") - 3))
value=$(head -c 200000 /dev/zero | tr '\0' x)
servers=''
for host in $(echo "$PISAURA_HOSTS" | tr , ' '); do
    case $host in *:*) host="[$host]" ;; esac
    servers="$servers,$host:${ZOOKEEPER_PORT:-2181}"
done
tries=0
until journalctl -q -u "$1" --since "$since" | grep -q 'No space left on device'; do
    tries=$((tries + 1))
    [ $tries -le 20 ] || { echo "it goes on writing: is its log elsewhere?"; exit 1; }
    {
        printf 'create /pisaura-%s-full\n' "$PISAURA_CASE"
        number=0
        while [ $number -lt 20 ]; do
            number=$((number + 1))
            printf 'set /pisaura-%s-full %s\n' "$PISAURA_CASE" "$value"
        done
        printf 'delete /pisaura-%s-full\nquit\n' "$PISAURA_CASE"
    } | timeout 10 "$client" -server "${servers#,}" >/dev/null 2>&1 || true
done
