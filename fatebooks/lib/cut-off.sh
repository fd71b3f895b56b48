#!/bin/sh
# cut-off.sh [HOST...]: nothing goes to these hosts any more, nor comes from them; without HOST the book's other hosts.
# unblock.sh undoes it. Needs root (or sudo) and iptables. HOST is an IPv4 address, a network (10.0.0.0/24), or a name, of
# which all IPv4 addresses are meant.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" \
    PISAURA_HOST="${PISAURA_HOST:-}" PISAURA_HOSTS="${PISAURA_HOSTS:-}" "$0" "$@"
if [ $# = 0 ]; then
    for host in $(echo "$PISAURA_HOSTS" | tr , ' '); do
        [ "$host" = "$PISAURA_HOST" ] || set -- "$@" "$host"
    done
fi
for host; do
    case $host in
    *[!0-9./]*) addresses=$(getent ahostsv4 "$host" | awk '{ print $1 }' | sort -u) ;;
    *) addresses=$host ;;
    esac
    [ -n "$addresses" ] || { echo "$host has no IPv4 address" >&2; exit 1; }
    for address in $addresses; do
        for rule in "INPUT -s $address" "OUTPUT -d $address"; do
            # The rule is words on purpose.
            # shellcheck disable=SC2086
            set -- $rule -m comment --comment "pisaura $PISAURA_CASE" -j DROP
            iptables -w -C "$@" 2>/dev/null || iptables -w -I "$@"
        done
    done
done
