#!/bin/sh
# workload.sh: a client that writes all the while, each time another key, to the primary that the sentinels name, and takes for
# accepted what a replica has confirmed. At the end it reads all of these from the primary and from every replica.
# Lists of hosts are words on purpose.
# shellcheck disable=SC2086
set -eu
# shellcheck source=fatebooks/redis/cluster.sh
. "${0%/*}/cluster.sh"
keys=pisaura:$PISAURA_CASE:writes
# In the working folder, which stays until the book is done.
accepted=.redis-$PISAURA_CASE-accepted
lost=.redis-$PISAURA_CASE-lost
over=.redis-$PISAURA_CASE-over
: >"$accepted"
: >"$lost"
rm -f "$over"
# Our input ends when we are to stop.
exec 3<&0
{ cat <&3 >/dev/null; : >"$over"; } &
number=0 primary=''
while [ ! -e "$over" ]; do
    number=$((number + 1))
    id=$(printf '%06d' $number)
    written=''
    for primary in $primary $(named $hosts | cut -d' ' -f1); do
        told=$(printf 'hset %s %s %s\nwait 1 500\n' "$keys" "$id" "$id" | redis "$primary" | paste -sd' ')
        case $told in
        [01]\ [1-9]*) written=$primary && break ;;
        esac
        [ ! -e "$over" ] || break
    done
    primary=$written
    if [ -n "$written" ]; then
        echo "ok $id"
        echo "$id" >>"$accepted"
    elif [ ! -e "$over" ]; then
        echo "err $id"
    fi
    sleep 0.1
done
primary=$(named $hosts | head -n 1 | cut -d' ' -f1)
[ -n "$primary" ] || no "no sentinel answers: $hosts"
# What was written last has to have come to all of them.
printf 'hset %s last last\nwait %s 5000\n' "$keys" $((count - 1)) | patience=10 redis "$primary" >/dev/null || true
# Not in a pipe, which would hide that a server could not be read.
for host in $hosts; do
    patience=20 redis "$host" hkeys "$keys" >"$accepted.read" || no "$host: the keys cannot be read"
    grep -qx last "$accepted.read" || no "$host: the newest key is not there: it has not caught up, or its answer was cut"
    sort "$accepted.read" >"$accepted.found"
    sort "$accepted" >"$accepted.sorted"
    comm -23 "$accepted.sorted" "$accepted.found" >>"$lost"
done
sort -u "$lost" | sed 's/^/lost /'
# Whatever comes of this, they are not asked for again.
redis "$primary" del "$keys" "pisaura:$PISAURA_CASE:health" "pisaura:$PISAURA_CASE:alone" >/dev/null || true
rm -f "$accepted" "$accepted.read" "$accepted.sorted" "$accepted.found" "$lost" "$over"
