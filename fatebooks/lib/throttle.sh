#!/bin/sh
# throttle.sh KBIT PORT...: what this host sends from these TCP ports goes out at so many kbit/s in all. unthrottle.sh undoes
# it. Needs root (or sudo) and tc, and a kernel with the queueing discipline htb. Where somebody else has set a discipline it refuses.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
kbit=$1
shift
# Disciplines have no comments, so the case's first digits are their handle.
handle=1$(printf %.3s "$PISAURA_CASE")
for link in $(ip -o link show up | sed 's/^[0-9]*: \([^:@]*\).*/\1/'); do
    [ "$link" != lo ] || continue
    case $(tc qdisc show dev "$link" root) in
    '' | *' 0: '*) ;;
    "qdisc htb $handle: "*) tc qdisc del dev "$link" root ;;
    *) echo "$link has a queueing discipline already: $(tc qdisc show dev "$link" root)" >&2; exit 1 ;;
    esac
    tc qdisc add dev "$link" root handle "$handle:" htb default 1
    tc class add dev "$link" parent "$handle:" classid "$handle:1" htb rate 10gbit quantum 60000
    tc class add dev "$link" parent "$handle:" classid "$handle:2" htb rate "${kbit}kbit" burst 1600 cburst 1600 quantum 1600
    for port; do
        tc filter add dev "$link" parent "$handle:" protocol ip prio 1 u32 match ip sport "$port" 0xffff flowid "$handle:2"
        tc filter add dev "$link" parent "$handle:" protocol ipv6 prio 2 u32 match ip6 sport "$port" 0xffff flowid "$handle:2"
    done
done
