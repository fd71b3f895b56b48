#!/bin/sh
# unblock.sh: takes away all rules of iptables that this case has made, and no others. Arguments are not needed, and ignored.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
for iptables in iptables ip6tables; do
    command -v $iptables >/dev/null || continue
    # By number, and the last first, so that the numbers of the others stay what they are.
    for chain in INPUT OUTPUT; do
        $iptables -w -L $chain -n --line-numbers 2>/dev/null |
            awk -v mark="/* pisaura $PISAURA_CASE */" 'index($0, mark) { print $1 }' | sort -rn |
            while read -r number; do $iptables -w -D $chain "$number"; done
    done
done
