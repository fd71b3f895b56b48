#!/bin/sh
# workload.sh: a client that commits a row after the other, each with a number of its own, on the primary. At the end it reads
# all rows from the primary, and from every standby once that has caught up.
set -eu
# shellcheck source=fatebooks/postgresql/cluster.sh
. "${0%/*}/cluster.sh"
table=${rows}_writes
# In the working folder, which stays until the book is done.
accepted=.postgresql-$PISAURA_CASE-accepted
lost=.postgresql-$PISAURA_CASE-lost
over=.postgresql-$PISAURA_CASE-over
: >"$accepted"
: >"$lost"
rm -f "$over"
find_primary
told=$(ask "$primary" -c "drop table if exists $table" -c "create table $table (id bigint primary key)") || no "$primary: $told"
# Our input ends when we are to stop.
exec 3<&0
{ cat <&3 >/dev/null; : >"$over"; } &
id=0
while [ ! -e "$over" ]; do
    id=$((id + 1))
    if ask "$primary" -c "insert into $table values ($id)" >/dev/null; then
        echo "ok $id"
        echo "$id" >>"$accepted"
    elif [ ! -e "$over" ]; then
        echo "err $id"
        # Another one may be the primary now.
        find_roles
        case $primaries in '' | *' '*) ;; *) primary=$primaries ;; esac
    fi
    sleep 0.1
done
find_primary
now=$(ask "$primary" -c 'select pg_current_wal_lsn()') || no "$primary: $now"
# Not in a pipe, which would hide that a server could not be read. None of the book's may be missing.
[ -z "$silent" ] || no "${silent%% *}: this server does not answer"
for host in $primary $standbys; do
    tries=0
    until [ "$(ask "$host" -c "select not pg_is_in_recovery() or pg_last_wal_replay_lsn() >= '$now'")" = t ]; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || no "$host: this standby does not catch up"
        sleep 0.1
    done
    patience=30 ask "$host" -c 'set statement_timeout = 0' -c "select id from $table" >"$accepted.read" || no "$host: the rows cannot be read"
    sort "$accepted.read" >"$accepted.found"
    sort "$accepted" >"$accepted.sorted"
    comm -23 "$accepted.sorted" "$accepted.found" >>"$lost"
done
sort -u "$lost" | sed 's/^/lost /'
# Whatever comes of this, they are not asked for again.
ask "$primary" -c "drop table if exists $table, $rows, ${rows}_seen" >/dev/null || true
rm -f "$accepted" "$accepted.read" "$accepted.sorted" "$accepted.found" "$lost" "$over"
