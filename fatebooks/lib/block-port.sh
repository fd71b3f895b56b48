#!/bin/sh
# block-port.sh [--out|--both] [--reject] PORT...: no other host reaches these TCP ports of this one any more; with --out this
# one does not reach these ports of others; with --both neither. What is sent is dropped, or with --reject refused. unblock.sh
# undoes it. Needs root (or sudo) and iptables. Loopback goes on.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
ways=in answer=DROP
while :; do
    case ${1:-} in
    --out) ways=out ;;
    --both) ways='in out' ;;
    --reject) answer='REJECT --reject-with tcp-reset' ;;
    -*) shift $(($# - 1)) ;;
    *) break ;;
    esac
    shift
done
[ $# != 0 ] || { sed -n '2s/^# //p' "$0" >&2; exit 1; }
command -v iptables >/dev/null || { echo "there is no iptables here" >&2; exit 1; }
tables=iptables
# A kernel without IPv6 has nothing to be blocked there.
! ip6tables -w -L INPUT >/dev/null 2>&1 || tables='iptables ip6tables'
for port; do
    for way in $ways; do
        case $way in in) where='INPUT ! -i lo' ;; *) where='OUTPUT ! -o lo' ;; esac
        for table in $tables; do
            # Both are words on purpose.
            # shellcheck disable=SC2086
            set -- $where -p tcp --dport "$port" -m comment --comment "pisaura $PISAURA_CASE" -j $answer
            $table -w -C "$@" 2>/dev/null || $table -w -I "$@"
        done
    done
done
