#!/bin/sh
# cluster.sh: read by the other scripts that run where the case runs: how a server of Redis, and a sentinel, is asked.
# REDISCLI_AUTH, REDIS_PORT (6379), REDIS_SENTINEL_PORT (26379) and REDIS_MASTER_NAME (mymaster) may be set. Needs redis-cli.
# What is set here is used there.
# shellcheck disable=SC2034
# An empty password would be sent.
[ -n "${REDISCLI_AUTH:-}" ] || unset REDISCLI_AUTH
command -v redis-cli >/dev/null || { echo "there is no redis-cli here"; exit 127; }
hosts=$(echo "$PISAURA_HOSTS" | tr , ' ')
targets=$(echo "$PISAURA_TARGETS" | tr , ' ')
name=${REDIS_MASTER_NAME:-mymaster}
export LC_ALL=C
others=''
count=0
for host in $hosts; do
    count=$((count + 1))
    case " $targets " in *" $host "*) ;; *) others="$others $host" ;; esac
done

no() { echo "$*" >&2; exit 1; }

# Who hangs is given up after this time.
sentinel() { at=$1; shift; timeout 1 redis-cli -h "$at" -p "${REDIS_SENTINEL_PORT:-26379}" sentinel "$@" 2>/dev/null; }
redis() { at=$1; shift; timeout "${patience:-3}" redis-cli -h "$at" -p "${REDIS_PORT:-6379}" "$@" 2>&1; }

# named HOST...: whom the sentinels of these hosts take for the primary, a line for each address.
named() {
    for host; do
        sentinel "$host" get-master-addr-by-name "$name" | paste -sd' ' || true
    done | grep . | sort -u
}
