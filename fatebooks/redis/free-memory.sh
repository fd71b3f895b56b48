#!/bin/sh
# free-memory.sh: this Redis may use as much memory again as before limit-memory.sh.
set -eu
# An empty password would be sent.
[ -n "${REDISCLI_AUTH:-}" ] || unset REDISCLI_AUTH
: "${PISAURA_CASE:?marks what is ours}"
before=/var/tmp/pisaura-$PISAURA_CASE-maxmemory
[ -e "$before" ] || exit 0
[ "$(timeout 5 redis-cli -p "${REDIS_PORT:-6379}" config set maxmemory "$(cat "$before")")" = OK ]
rm -f "$before"
