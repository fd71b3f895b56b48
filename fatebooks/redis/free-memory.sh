#!/bin/sh
# free-memory.sh: this Redis may use as much memory again as before limit-memory.sh. Runs as root.
set -eu
# An empty password would be sent.
[ -n "${REDISCLI_AUTH:-}" ] || unset REDISCLI_AUTH
before=/run/pisaura-${PISAURA_CASE:?marks what is ours}-maxmemory
rm -f "$before.new"
[ -e "$before" ] || exit 0
[ "$(timeout 5 redis-cli -p "${REDIS_PORT:-6379}" config set maxmemory "$(cat "$before")")" = OK ]
rm -f "$before"
