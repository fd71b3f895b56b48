#!/bin/sh
# health.sh --step=N: is this Redis a store that loses nothing that a replica has confirmed? A client asks the sentinels for
# the primary, writes a key there, waits until replicas have it, reads it back, and looks whether all keys are there that
# were confirmed since the case began. Exit 0 only if all of them were read. Before the failure and after it all replicas have
# to confirm, during it one. REDISCLI_AUTH, REDIS_PORT (6379), REDIS_SENTINEL_PORT (26379) and REDIS_MASTER_NAME (mymaster)
# may be set. Needs redis-cli.
set -eu
# An empty password would be sent.
[ -n "${REDISCLI_AUTH:-}" ] || unset REDISCLI_AUTH
command -v redis-cli >/dev/null || { echo "there is no redis-cli here"; exit 127; }
step=${1#--step=}
hosts=$(echo "$PISAURA_HOSTS" | tr , ' ')
# shellcheck disable=SC2086
replicas=$(($(set -- $hosts; echo $#) - 1))
[ "$step" != 2 ] || replicas=1
keys=pisaura:$PISAURA_CASE
# What was confirmed, a name a line; it lies in the working folder, which stays until the book is done.
accepted=.redis-$PISAURA_CASE
[ "$step" != 1 ] || rm -f "$accepted"
touch "$accepted"

# Who hangs is given up after this time.
sentinel() { timeout 1 redis-cli -h "$1" -p "${REDIS_SENTINEL_PORT:-26379}" sentinel get-master-addr-by-name "${REDIS_MASTER_NAME:-mymaster}" 2>/dev/null; }
redis() { timeout 3 redis-cli -h "$primary" -p "$port" "$@" 2>&1; }

work() {
    name=$step-$(date +%s%N)
    # On one connection: replicas confirm what was written on the connection that waits.
    told=$(printf 'set %s:%s %s ex 3600\nwait %s 1000\n' "$keys" "$name" "$name" "$replicas" | redis | paste -sd' ')
    confirmed=${told#OK }
    [ "$confirmed" -ge "$replicas" ] 2>/dev/null || { echo "$primary: ${told:-no answer}: not confirmed by $replicas"; return 1; }
    echo "$name" >>"$accepted"
    while read -r name; do
        told=$(redis get "$keys:$name") || return 1
        [ "$told" = "$name" ] || { echo "$primary: $name was confirmed, and is lost (${told:-nothing there})"; exit 1; }
    done <"$accepted"
    count=$(wc -l <"$accepted")
    [ "$step" = 3 ] || return 0
    # All was read. Whatever comes of this, it is not asked for again.
    names=$(sed "s/^/$keys:/" "$accepted")
    rm -f "$accepted"
    # shellcheck disable=SC2086
    redis del $names >/dev/null || true
}

# A sentinel that is cut off still names the primary that it knew, so all that are named are tried.
primaries=$(for host in $hosts; do sentinel "$host" | paste -sd' ' || true; done | sort -u)
[ -n "$primaries" ] || { echo "no sentinel answers: $hosts"; exit 1; }
while read -r primary port; do
    if work; then
        echo "$primary: written, confirmed by $confirmed of $replicas, read back; all $count confirmed keys are there"
        exit 0
    fi
done <<END
$primaries
END
exit 1
