#!/bin/sh
# role.sh primary|replica: what is this Redis now? Runs on the host.
set -eu
# An empty password would be sent.
[ -n "${REDISCLI_AUTH:-}" ] || unset REDISCLI_AUTH
case $(timeout 5 redis-cli -p "${REDIS_PORT:-6379}" role | head -n 1) in
master) role=primary ;;
slave) role=replica ;;
*) echo "Redis does not answer here"; exit 127 ;;
esac
echo "$PISAURA_HOST is a $role"
[ $role = "$1" ]
