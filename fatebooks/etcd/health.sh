#!/bin/sh
# health.sh [HOST...] --step=N: is this etcd a store that loses nothing? A client that asks one member after the other writes
# a key, reads it back, and looks whether all keys are there that etcd has said yes to since the case began. Exit 0 only if
# all of them were read. Without HOST all hosts of the book are asked. ETCD_PORT (2379) and etcdctl's own variables
# (ETCDCTL_CACERT, ETCDCTL_USER ...) may be set. Needs etcdctl.
set -eu
export ETCDCTL_API=3
command -v etcdctl >/dev/null || { echo "there is no etcdctl here"; exit 127; }
hosts='' step=''
for argument; do
    case $argument in
    --step=*) step=${argument#--step=} ;;
    *) hosts="$hosts $argument" ;;
    esac
done
all=''
if [ -z "$hosts" ]; then
    # The host that is broken comes last, so that the time until there is an answer is etcd's and not the client's.
    for host in $(echo "$PISAURA_HOSTS" | tr , ' '); do
        [ "$host" = "$PISAURA_HOST" ] || hosts="$hosts $host"
    done
    hosts="$hosts $PISAURA_HOST"
    # Before the failure and after it none may be missing.
    [ "$step" = 2 ] || all=$hosts
fi
keys=pisaura/$PISAURA_CASE
# What etcd has said yes to, a name a line; it lies in the working folder, which stays until the book is done.
accepted=.etcd-$PISAURA_CASE
[ "$step" != 1 ] || rm -f "$accepted"
touch "$accepted"

# A member that hangs, or has no leader, is given up after this time.
ask() { timeout 2 etcdctl --endpoints="$host:${ETCD_PORT:-2379}" --command-timeout=1s "$@"; }

work() {
    if [ "$step" = 1 ]; then ask del --prefix "$keys/" >/dev/null || return 1; fi
    name=$step-$(date +%s%N)
    ask put "$keys/$name" "$name!" >/dev/null || return 1
    echo "$name" >>"$accepted"
    [ "$(ask get "$keys/$name" --print-value-only)" = "$name!" ] || return 1
    found=$(ask get --prefix "$keys/" --keys-only) || return 1
    while read -r name; do
        echo "$found" | grep -qx "$keys/$name" || { echo "$host: $name was accepted, and is lost"; exit 1; }
    done <"$accepted"
    count=$(wc -l <"$accepted")
    [ "$step" = 3 ] || return 0
    # All was read. Whatever comes of this, it is not asked for again.
    rm -f "$accepted"
    ask del --prefix "$keys/" >/dev/null || true
}

for host in $hosts; do
    # An address of IPv6.
    case $host in *:*) host="[$host]" ;; esac
    if work; then
        echo "$host: written and read back; all $count accepted keys are there"
        for host in $all; do
            case $host in *:*) host="[$host]" ;; esac
            ask get "$keys/" >/dev/null || { echo "$host: this member does not answer"; exit 1; }
        done
        exit 0
    fi
done
echo "no member could be written to and read from:$hosts"
exit 1
