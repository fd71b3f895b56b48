#!/bin/sh
# workload.sh: a client that writes all the while, each time another key, to the member that answered last, or the next one.
# At the end it reads all keys from every member.
set -eu
# shellcheck source=fatebooks/etcd/cluster.sh
. "${0%/*}/cluster.sh"
# In the working folder, which stays until the book is done.
accepted=.etcd-$PISAURA_CASE-accepted
found=.etcd-$PISAURA_CASE-found
lost=.etcd-$PISAURA_CASE-lost
over=.etcd-$PISAURA_CASE-over
: >"$accepted"
: >"$lost"
rm -f "$over"
# Our input ends when we are to stop.
exec 3<&0
{ cat <&3 >/dev/null; : >"$over"; } &
number=0 queue=$hosts
while [ ! -e "$over" ]; do
    number=$((number + 1))
    id=$(printf '%06d' $number)
    written=''
    for host in $queue; do
        if ask "$host" put "$keys/writes/$id" "$id" >/dev/null; then
            written=$host
            break
        fi
        [ ! -e "$over" ] || break
    done
    if [ -n "$written" ]; then
        echo "ok $id"
        echo "$id" >>"$accepted"
        queue="$written"
        for host in $hosts; do
            [ "$host" = "$written" ] || queue="$queue $host"
        done
    elif [ ! -e "$over" ]; then
        echo "err $id"
    fi
    sleep 0.1
done
# Not in a pipe, which would hide that a member could not be read.
for host in $hosts; do
    patience=20 ask "$host" --command-timeout=15s get --prefix "$keys/writes/" --keys-only >"$found" ||
        { echo "$host: the keys cannot be read" >&2; exit 1; }
    sed -n "s|^$keys/writes/||p" "$found" | sort >"$found.sorted"
    sort "$accepted" >"$accepted.sorted"
    comm -23 "$accepted.sorted" "$found.sorted" >>"$lost"
done
sort -u "$lost" | sed 's/^/lost /'
# Whatever comes of this, they are not asked for again.
ask "${hosts%% *}" del --prefix "$keys/" >/dev/null || true
rm -f "$accepted" "$accepted.sorted" "$found" "$found.sorted" "$lost" "$over"
