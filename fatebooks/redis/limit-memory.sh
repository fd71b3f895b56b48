#!/bin/sh
# limit-memory.sh: this Redis may use no more memory from now on, as if it had reached its limit. free-memory.sh undoes it.
# Only with the policy noeviction, which refuses writes then: any other would throw keys away, and nobody could bring them back.
# Runs as root.
set -eu
# An empty password would be sent.
[ -n "${REDISCLI_AUTH:-}" ] || unset REDISCLI_AUTH
before=/run/pisaura-${PISAURA_CASE:?marks what is ours}-maxmemory
redis() { timeout 5 redis-cli -p "${REDIS_PORT:-6379}" "$@"; }
policy=$(redis config get maxmemory-policy | tail -n 1)
[ "$policy" = noeviction ] || { echo "the policy is ${policy:-unknown}, not noeviction: keys would be lost" >&2; exit 1; }
# What it was before is kept, whole or not at all, and not overwritten by what we have made of it.
if ! [ -e "$before" ]; then
    limit=$(redis config get maxmemory | tail -n 1)
    case $limit in '' | *[!0-9]*) echo "Redis does not tell its limit: $limit" >&2; exit 1 ;; esac
    echo "$limit" >"$before.new"
    mv "$before.new" "$before"
fi
[ "$(redis config set maxmemory 1)" = OK ]
