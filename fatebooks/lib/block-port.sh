#!/bin/sh
# block-port.sh [--reject] PORT...: no other host reaches these TCP ports of this one any more: what they send is dropped, or
# with --reject refused. unblock.sh undoes it. Needs root and iptables. Loopback goes on, and so do connections of this host.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
answer=DROP
[ "${1:-}" != --reject ] || { answer='REJECT --reject-with tcp-reset'; shift; }
for port; do
    for iptables in iptables ip6tables; do
        command -v $iptables >/dev/null || { [ $iptables = ip6tables ] && continue; echo "there is no iptables here" >&2; exit 1; }
        # The answer is words on purpose.
        # shellcheck disable=SC2086
        set -- INPUT ! -i lo -p tcp --dport "$port" -m comment --comment "pisaura $PISAURA_CASE" -j $answer
        # A kernel without IPv6 has nothing to be blocked there.
        [ $iptables = iptables ] || $iptables -w -L INPUT >/dev/null 2>&1 || continue
        $iptables -w -C "$@" 2>/dev/null || $iptables -w -I "$@"
    done
done
