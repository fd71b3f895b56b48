#!/bin/sh
# cluster.sh: read by the other scripts that run where the case runs: who the servers are, and how one of them is asked.
# ZOOKEEPER_PORT (2181) may be set, and ZOOKEEPER_CLI, if zkCli.sh is neither in PATH nor where Debian puts it. Needs zkCli.sh,
# and bash to ask a server what it is.
# What is set here is used there.
# shellcheck disable=SC2034
hosts=$(echo "$PISAURA_HOSTS" | tr , ' ')
targets=$(echo "$PISAURA_TARGETS" | tr , ' ')
others=''
count=0
for host in $hosts; do
    count=$((count + 1))
    case " $targets " in *" $host "*) ;; *) others="$others $host" ;; esac
done
client=${ZOOKEEPER_CLI:-$(command -v zkCli.sh || echo /usr/share/zookeeper/bin/zkCli.sh)}
[ -x "$client" ] || { echo "there is no zkCli.sh: name it in ZOOKEEPER_CLI"; exit 127; }
node=/pisaura-$PISAURA_CASE

no() { echo "$*" >&2; exit 1; }

# ask HOST: gives the commands on standard input to this server alone. One that hangs, or has no quorum, is given up after a time.
ask() {
    at=$1
    # An address of IPv6.
    case $at in *:*) at="[$at]" ;; esac
    timeout "${ZOOKEEPER_PATIENCE:-5}" "$client" -server "$at:${ZOOKEEPER_PORT:-2181}" 2>&1
}

# mode HOST: leader, follower or standalone; none, if it does not serve; nothing, if it does not answer.
mode() {
    # What is in quotes is for bash.
    # shellcheck disable=SC2016
    timeout 2 bash -c 'exec 3<>"/dev/tcp/$1/$2" && printf srvr >&3 && cat <&3' - "$1" "${ZOOKEEPER_PORT:-2181}" 2>/dev/null |
        sed -n 's/^Mode: //p; s/^This ZooKeeper instance is not currently serving requests.*/none/p' || true
}
