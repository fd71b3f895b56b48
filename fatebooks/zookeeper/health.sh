#!/bin/sh
# health.sh --step=N: is this ZooKeeper a store that loses nothing? A client that asks one server after the other creates a node,
# reads it back, and looks whether all nodes are there that were accepted since the case began. Before the failure and after it
# every server has to have them all. Exit 0 only if they were really read.
# Lists of hosts are words on purpose.
# shellcheck disable=SC2086
set -eu
# shellcheck source=fatebooks/zookeeper/cluster.sh
. "${0%/*}/cluster.sh"
step=${1#--step=}
# What was accepted, a name a line; it lies in the working folder, which stays until the book is done.
accepted=.zookeeper-$PISAURA_CASE
[ "$step" != 1 ] || rm -f "$accepted"
touch "$accepted"

# has_all: whether what was told has all that was accepted.
has_all() {
    found=$(echo "$told" | grep -x '\[[-0-9, ]*\]' | tail -n 1 | tr -d '[] ' | tr , '\n')
    [ -n "$found" ] || return 1
    while read -r name; do
        echo "$found" | grep -qx "$name" || no "$host: $name was accepted, and is lost"
    done <"$accepted"
}

work() {
    name=$step-$(date +%s%N)
    told=$(
        {
            [ "$step" != 1 ] || printf 'deleteall %s\n' "$node"
            printf 'create %s\ncreate %s/%s %s!\n' "$node" "$node" "$name" "$name"
            # What another server has accepted may be known to this one a little later, but for `sync`.
            printf 'sync %s\nget %s/%s\nls %s\nquit\n' "$node" "$node" "$name" "$node"
        } | ask "$host"
    ) || true
    # With values from the servers alone: the client repeats what it was asked.
    echo "$told" | grep -qx "Created $node/$name" || return 1
    echo "$name" >>"$accepted"
    echo "$told" | grep -qx "$name!" || return 1
    has_all
}

written=''
# Who is broken comes last, so that the time until there is an answer is ZooKeeper's and not the client's.
for host in $others $targets; do
    if work; then
        written=$host
        break
    fi
done
[ -n "$written" ] || no "no server could be written to and read from: $(echo "$told" | grep -v '^\[zk: ' | tail -n 1)"
echo "$written: created and read back; all $(wc -l <"$accepted") accepted nodes are there"
[ "$step" != 2 ] || exit 0
for host in $hosts; do
    told=$(printf 'sync %s\nls %s\nquit\n' "$node" "$node" | ask "$host") || true
    has_all || no "$host: this server does not answer"
done
[ "$step" = 3 ] || exit 0
# All was read. Whatever comes of this, it is not asked for again.
rm -f "$accepted"
printf 'deleteall %s\ndeleteall %s-full\ndeleteall %s-alone\nquit\n' "$node" "$node" "$node" | ask "$written" >/dev/null || true
