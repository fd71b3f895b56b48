#!/bin/sh
# limit-memory.sh: this Redis may use no more memory from now on, as if it had reached its limit. free-memory.sh undoes it.
set -eu
# An empty password would be sent.
[ -n "${REDISCLI_AUTH:-}" ] || unset REDISCLI_AUTH
: "${PISAURA_CASE:?marks what is ours}"
before=/var/tmp/pisaura-$PISAURA_CASE-maxmemory
redis() { timeout 5 redis-cli -p "${REDIS_PORT:-6379}" "$@"; }
# What it was before is kept, whole or not at all, and not overwritten by what we have made of it.
if ! [ -e "$before" ]; then
    redis config get maxmemory | tail -n 1 >"$before.new"
    mv "$before.new" "$before"
fi
redis config set maxmemory 1
