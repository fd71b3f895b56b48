#!/bin/sh
# role.sh leader|follower: is this member of etcd the leader, or a follower, now? Runs on the host.
set -eu
unset ETCDCTL_ENDPOINTS ETCDCTL_DIAL_TIMEOUT ETCDCTL_COMMAND_TIMEOUT
ask() {
    ETCDCTL_API=3 timeout 6 etcdctl --endpoints="127.0.0.1:${ETCD_PORT:-2379}" --command-timeout=5s endpoint status --write-out=fields
}
# One that has only just begun may keep its first client waiting.
status=$(ask) || status=$(ask) || { echo "etcd does not answer here"; exit 127; }
member=$(echo "$status" | sed -n 's/^"MemberID" : //p')
leader=$(echo "$status" | sed -n 's/^"Leader" : //p')
[ -n "$member" ] || { echo "etcd does not tell its role"; exit 127; }
role=follower
[ "$member" != "$leader" ] || role=leader
echo "$PISAURA_HOST is a $role"
[ $role = "$1" ]
