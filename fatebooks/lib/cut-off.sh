#!/bin/sh
# cut-off.sh [HOST...]: nothing goes to these hosts any more, nor comes from them; without HOST the book's other hosts.
# unblock.sh undoes it. Needs root (or sudo) and iptables. HOST is an address, a network (10.0.0.0/24), or a name, of which all
# addresses are meant.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" \
    PISAURA_HOST="${PISAURA_HOST:-}" PISAURA_HOSTS="${PISAURA_HOSTS:-}" "$0" "$@"
if [ $# = 0 ]; then
    for host in $(echo "${PISAURA_HOSTS:-}" | tr , ' '); do
        [ "$host" = "${PISAURA_HOST:-}" ] || set -- "$@" "$host"
    done
fi
[ $# != 0 ] || { echo "there is no other host to be cut off from" >&2; exit 1; }
# All names first: whoever knows them may be among those that are cut off.
addresses=''
for host; do
    case $host in
    # Neither IPv4, which has digits and points, nor IPv6, which has a colon.
    *:* | *.*.*.*[0-9] | *.*.*.*/*) found=$host ;;
    *) found=$(getent ahosts "$host" | awk '{ print $1 }' | sort -u) ;;
    esac
    [ -n "$found" ] || { echo "$host has no address" >&2; exit 1; }
    addresses="$addresses $found"
done
for address in $addresses; do
    case $address in *:*) table=ip6tables ;; *) table=iptables ;; esac
    for rule in "INPUT -s $address" "OUTPUT -d $address"; do
        # The rule is words on purpose.
        # shellcheck disable=SC2086
        set -- $rule -m comment --comment "pisaura $PISAURA_CASE" -j DROP
        $table -w -C "$@" 2>/dev/null || $table -w -I "$@"
    done
done
