#!/bin/sh
# block-port.sh [--out|--both] [--connected] [--from HOST]... [--reject] PORT...: no other host reaches these TCP ports of this one any more;
# with --out this one does not reach these ports of others; with --both neither; with --from that holds for these hosts alone. What is sent
# is dropped, or with --reject refused. unblock.sh undoes it. Needs root (or sudo) and iptables. Loopback goes on. Where nobody listens at
# a port, or with --connected nobody here is connected to it elsewhere, there is nothing to be blocked: exit 1. still-blocked.sh says
# whether anything was held up.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
ways=in answer=DROP from='' connected=''
while :; do
    case ${1:-} in
    --out) ways=out ;;
    --both) ways='in out' ;;
    --connected) connected=yes ;;
    --from)
        [ $# -ge 2 ] || { echo "--from needs a host" >&2; exit 1; }
        from="$from $2"
        shift
        ;;
    --reject) answer='REJECT --reject-with tcp-reset' ;;
    -*) shift $(($# - 1)) ;;
    *) break ;;
    esac
    shift
done
[ $# != 0 ] || { sed -n '2s/^# //p' "$0" >&2; exit 1; }
command -v iptables >/dev/null || { echo "there is no iptables here" >&2; exit 1; }
# Whether anybody listens there: the kernel's own list, where 0A says so.
listens() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$(printf ':%04X' "$1")" '
        $4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }'
}
# Whether anybody here is connected to that port of another host, or is about to be (01, 02).
is_connected() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$(printf ':%04X' "$1")" '
        ($4 == "01" || $4 == "02") && substr($3, length($3) - 4) == port { found = 1 } END { exit !found }'
}
# Once more, the connection may be gone already.
case $(iptables -w -S) in *"pisaura $PISAURA_CASE"*) connected='' ;; esac
if [ -n "$connected" ]; then
    for port; do is_connected "$port" || { echo "nobody here is connected to port $port of another host" >&2; exit 1; }; done
fi
case $ways in
*in*) for port; do listens "$port" || { echo "nobody listens at port $port here" >&2; exit 1; }; done ;;
esac
addresses=''
for host in $from; do
    case $host in
    # Neither IPv4, which has digits and points, nor IPv6, which has a colon.
    *:* | *.*.*.*[0-9] | *.*.*.*/*) found=$host ;;
    *) found=$(getent ahosts "$host" | awk '{ print $1 }' | sort -u) ;;
    esac
    [ -n "$found" ] || { echo "$host has no address" >&2; exit 1; }
    addresses="$addresses $found"
done
# rule TABLE WAY PORT [ADDRESS]
rule() {
    case $2 in in) where="INPUT ! -i lo ${4:+-s $4}" ;; *) where="OUTPUT ! -o lo ${4:+-d $4}" ;; esac
    # Both are words on purpose.
    # shellcheck disable=SC2086
    set -- "$1" $where -p tcp --dport "$3" -m comment --comment "pisaura $PISAURA_CASE" -j $answer
    table=$1
    shift
    $table -w -C "$@" 2>/dev/null || $table -w -I "$@"
}
tables=iptables
# A kernel without IPv6 has nothing to be blocked there.
! ip6tables -w -L INPUT >/dev/null 2>&1 || tables='iptables ip6tables'
for port; do
    for way in $ways; do
        if [ -z "$from" ]; then
            for table in $tables; do rule "$table" "$way" "$port"; done
        else
            for address in $addresses; do
                case $address in *:*) rule ip6tables "$way" "$port" "$address" ;; *) rule iptables "$way" "$port" "$address" ;; esac
            done
        fi
    done
done
