#!/bin/sh
# role.sh leader|follower: is this server of ZooKeeper the leader, or a follower, now? Runs on the host. Needs bash, and that
# the server may be asked by the four letters `srvr`, as it may by default.
set -eu
port=${ZOOKEEPER_PORT:-2181}
answer=$(timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port; printf srvr >&3; cat <&3" || true)
role=$(echo "$answer" | sed -n 's/^Mode: //p')
[ -n "$role" ] || { echo "ZooKeeper does not answer here: ${answer:-nothing}"; exit 127; }
echo "$PISAURA_HOST is a $role"
[ "$role" = "$1" ]
