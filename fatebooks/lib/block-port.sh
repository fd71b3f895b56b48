#!/bin/sh
# block-port.sh [--out] [--reject] PORT...: no other host reaches these TCP ports of this one any more; with --out this one
# does not reach these ports of others. What is sent is dropped, or with --reject refused. unblock.sh undoes it. Needs root (or sudo) and
# iptables. Loopback goes on.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
where='INPUT ! -i lo' answer=DROP
while :; do
    case ${1:-} in
    --out) where='OUTPUT ! -o lo' ;;
    --reject) answer='REJECT --reject-with tcp-reset' ;;
    *) break ;;
    esac
    shift
done
for port; do
    for iptables in iptables ip6tables; do
        command -v $iptables >/dev/null || { [ $iptables = ip6tables ] && continue; echo "there is no iptables here" >&2; exit 1; }
        # Both are words on purpose.
        # shellcheck disable=SC2086
        set -- $where -p tcp --dport "$port" -m comment --comment "pisaura $PISAURA_CASE" -j $answer
        # A kernel without IPv6 has nothing to be blocked there.
        [ $iptables = iptables ] || $iptables -w -L INPUT >/dev/null 2>&1 || continue
        $iptables -w -C "$@" 2>/dev/null || $iptables -w -I "$@"
    done
done
