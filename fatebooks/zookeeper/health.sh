#!/bin/sh
# health.sh [HOST...] --step=N: is this ZooKeeper a store that loses nothing? A client that asks one server after the other
# creates a node, reads it back, and looks whether all nodes are there that were accepted since the case began. Exit 0 only if
# all of them were read. Without HOST all hosts of the book are asked. ZOOKEEPER_PORT (2181) may be set, and ZOOKEEPER_CLI, if
# zkCli.sh is neither in PATH nor where Debian puts it. Needs zkCli.sh.
set -eu
hosts='' step=''
for argument; do
    case $argument in
    --step=*) step=${argument#--step=} ;;
    *) hosts="$hosts $argument" ;;
    esac
done
if [ -z "$hosts" ]; then
    # The host that is broken comes last, so that the time until there is an answer is ZooKeeper's and not the client's.
    for host in $(echo "$PISAURA_HOSTS" | tr , ' '); do
        [ "$host" = "$PISAURA_HOST" ] || hosts="$hosts $host"
    done
    hosts="$hosts $PISAURA_HOST"
fi
client=${ZOOKEEPER_CLI:-$(command -v zkCli.sh || echo /usr/share/zookeeper/bin/zkCli.sh)}
[ -x "$client" ] || { echo "there is no zkCli.sh: name it in ZOOKEEPER_CLI"; exit 127; }
node=/pisaura-$PISAURA_CASE
# What was accepted, a name a line; it lies in the working folder, which stays until the book is done.
accepted=.zookeeper-$PISAURA_CASE
[ "$step" != 1 ] || rm -f "$accepted"
touch "$accepted"

# A server that hangs, or has no quorum, is given up after this time.
ask() { timeout "${ZOOKEEPER_PATIENCE:-5}" "$client" -server "$host:${ZOOKEEPER_PORT:-2181}" 2>&1; }

work() {
    name=$step-$(date +%s%N)
    told=$(
        {
            [ "$step" != 1 ] || printf 'deleteall %s\n' "$node"
            printf 'create %s\ncreate %s/%s %s!\n' "$node" "$node" "$name" "$name"
            # What another server has accepted may be known to this one a little later, but for `sync`.
            printf 'sync %s\nget %s/%s\nls %s\n' "$node" "$node" "$name" "$node"
            echo quit
        } | ask
    ) || true
    # With values from the servers alone: the client repeats what it was asked.
    echo "$told" | grep -qx "Created $node/$name" || return 1
    echo "$name" >>"$accepted"
    echo "$told" | grep -qx "$name!" || return 1
    found=$(echo "$told" | grep -x '\[[-0-9, ]*\]' | tail -n 1 | tr -d '[] ' | tr , '\n')
    [ -n "$found" ] || return 1
    while read -r name; do
        echo "$found" | grep -qx "$name" || { echo "$host: $name was accepted, and is lost"; exit 1; }
    done <"$accepted"
    count=$(wc -l <"$accepted")
    [ "$step" = 3 ] || return 0
    # All was read. Whatever comes of this, it is not asked for again.
    rm -f "$accepted"
    printf 'deleteall %s\nquit\n' "$node" | ask >/dev/null || true
}

for host in $hosts; do
    # An address of IPv6.
    case $host in *:*) host="[$host]" ;; esac
    if work; then
        echo "$host: created and read back; all $count accepted nodes are there"
        exit 0
    fi
done
echo "no server could be written to and read from:$hosts"
echo "$told" | grep -v '^\[zk: ' | tail -n 5
exit 1
