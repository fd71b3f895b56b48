#!/bin/sh
# noticed.sh new-primary|replica-gone: have the sentinels noticed the failure? A failure that nobody notices tests nothing.
#   new-primary   the sentinels of the others have made another server the primary, and it is one
#   replica-gone  the primary has lost the broken replica, and the sentinels of the others say so
# Before the failure and after it all sentinels name one primary.
# Lists of hosts are words on purpose.
# shellcheck disable=SC2086
set -eu
# shellcheck source=fatebooks/redis/cluster.sh
. "${0%/*}/cluster.sh"
# The primary before the failure. It lies in the working folder, which stays until the book is done.
before=.redis-$PISAURA_CASE-primary
if [ "$PISAURA_STEP" != 2 ]; then
    now=$(named $hosts)
    [ -n "$now" ] || no "no sentinel answers: $hosts"
    [ "$(echo "$now" | wc -l)" = 1 ] || no "the sentinels name several primaries: $(echo "$now" | paste -sd,)"
    if [ "$PISAURA_STEP" = 1 ]; then echo "${now% *}" >"$before"; else rm -f "$before"; fi
    echo "the primary is ${now% *}"
    exit 0
fi
old=$(cat "$before")
now=$(named $others)
[ -n "$now" ] || no "no sentinel answers: $others"
[ "$(echo "$now" | wc -l)" = 1 ] || no "the sentinels name several primaries: $(echo "$now" | paste -sd,)"
now=${now% *}
case $1 in
new-primary)
    [ "$now" != "$old" ] || no "the primary is still $old"
    told=$(redis "$now" role | head -n 1)
    [ "$told" = master ] || no "$now: the sentinels name it, and it is no primary yet (${told:-no answer})"
    echo "the primary was $old, and is $now"
    ;;
replica-gone)
    for host in $targets; do
        told=$(redis "$now" info replication)
        echo "$told" | grep -q '^role:master' || no "$now: this is no primary"
        ! echo "$told" | grep -q "^slave[0-9]*:ip=$host,.*state=online" || no "$now: its replica $host is still online"
        for other in $others; do
            sentinel "$other" replicas "$name" | grep -A 9 -x "$host:${REDIS_PORT:-6379}" | grep -q s_down ||
                no "$other: this sentinel does not miss $host"
        done
    done
    echo "the primary is $now, and nobody counts on $targets"
    ;;
*) sed -n '2s/^# //p' "$0" >&2; exit 127 ;;
esac
