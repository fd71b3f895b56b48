#!/bin/sh
# cluster.sh: read by the other scripts that run where the case runs: who the members are, and how one of them is asked.
# ETCD_PORT (2379) and etcdctl's own variables (ETCDCTL_CACERT, ETCDCTL_USER ...) may be set. Needs etcdctl.
# Lists of hosts are words on purpose, here and there; what is set here is used there.
# shellcheck disable=SC2034,SC2086
export ETCDCTL_API=3 LC_ALL=C
# What is said for each question would be refused beside these.
unset ETCDCTL_ENDPOINTS ETCDCTL_DIAL_TIMEOUT ETCDCTL_COMMAND_TIMEOUT
command -v etcdctl >/dev/null || { echo "there is no etcdctl here"; exit 127; }
hosts=$(echo "$PISAURA_HOSTS" | tr , ' ')
targets=$(echo "$PISAURA_TARGETS" | tr , ' ')
others=''
for host in $hosts; do
    case " $targets " in *" $host "*) ;; *) others="$others $host" ;; esac
done
keys=pisaura/$PISAURA_CASE

# ask HOST ...: what this member alone answers. One that hangs, or has no leader, is given up after this time.
ask() {
    at=$1
    shift
    # An address of IPv6.
    case $at in *:*) at="[$at]" ;; esac
    timeout "${patience:-2}" etcdctl --endpoints="$at:${ETCD_PORT:-2379}" --dial-timeout=1s --command-timeout=1s "$@" 2>/dev/null
}

# field NAME: of the status of a member that is read from standard input.
field() { sed -n "s/^\"$1\" : //p" | head -n 1; }
