#!/bin/sh
# cut-off.sh [--in|--out] [HOST...|--everybody]: nothing goes to these hosts any more, nor comes from them; without HOST the book's other
# hosts. With --in nothing comes from them, with --out nothing goes to them; with --everybody it is all hosts, but for the port of the SSH
# server that this command came through. unblock.sh undoes it. Needs root (or sudo) and iptables. HOST is an address, a network
# (10.0.0.0/24), or a name, of which all addresses are meant.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" SSH_CONNECTION="${SSH_CONNECTION:-}" \
    PISAURA_HOST="${PISAURA_HOST:-}" PISAURA_HOSTS="${PISAURA_HOSTS:-}" "$0" "$@"
ways='INPUT OUTPUT' everybody=''
while :; do
    case ${1:-} in
    --in) ways=INPUT ;;
    --out) ways=OUTPUT ;;
    --everybody) everybody=yes ;;
    -*) sed -n '2s/^# //p' "$0" >&2; exit 1 ;;
    *) break ;;
    esac
    shift
done
# rule TABLE CHAIN ...
rule() {
    table=$1
    shift
    set -- "$@" -m comment --comment "pisaura $PISAURA_CASE" -j DROP
    $table -w -C "$@" 2>/dev/null || $table -w -I "$@"
}
if [ -n "$everybody" ]; then
    [ $# = 0 ] || { echo "--everybody needs no host" >&2; exit 1; }
    # Its last word is the port here. By sudo it may not be told.
    port=${SSH_CONNECTION:-22}
    port=${port##* }
    tables=iptables
    ! ip6tables -w -L INPUT >/dev/null 2>&1 || tables='iptables ip6tables'
    # Each rule spares SSH by itself: there is no moment in which it would be cut, whichever of them are there.
    for table in $tables; do
        for way in $ways; do
            case $way in INPUT) at='! -i lo' own=--dport ;; *) at='! -o lo' own=--sport ;; esac
            # Words on purpose.
            # shellcheck disable=SC2086
            rule $table $way $at -p tcp ! $own "$port"
            # shellcheck disable=SC2086
            rule $table $way $at -p udp
        done
    done
    exit 0
fi
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
    for way in $ways; do
        case $way in INPUT) end=-s ;; *) end=-d ;; esac
        rule "$table" "$way" "$end" "$address"
    done
done
