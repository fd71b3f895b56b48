#!/bin/sh
# health.sh --step=N: is this PostgreSQL a store that answers? There has to be one primary among the book's hosts, and only
# one; a row is inserted there, and read back, and all rows of crash-under-writes.sh that were committed have to be there. Before
# the failure and after it every other host has to be a standby that streams, and to have the row. Exit 0 only if it was really
# read. POSTGRESQL_ROW_KIB (1) is how large a row is. The user has to be allowed to create tables.
set -eu
# shellcheck source=fatebooks/postgresql/cluster.sh
. "${0%/*}/cluster.sh"
step=${1#--step=}

# Fails with what psql has said.
must() { told=$(ask "$@") || no "$1: $(echo "$told" | tail -n 1)"; }

find_primary
if [ "$step" = 1 ]; then
    must "$primary" -c "drop table if exists $rows, ${rows}_seen" \
        -c "create table $rows (id bigserial primary key, value text)" -c "create table ${rows}_seen (id bigint)"
fi
# Of chance, so that it takes the room that it seems to take.
must "$primary" -c "insert into $rows (value) select string_agg(md5(random()::text), '') from generate_series(1, 32 * ${POSTGRESQL_ROW_KIB:-1}) returning id"
newest=$told
must "$primary" -c "select count(*) from $rows where id = $newest and length(value) > 0"
[ "$told" = 1 ] || no "$primary: the row that was just committed is not there"
must "$primary" -c "select count(*) filter (where $rows.id is null), count(*) from ${rows}_seen left join $rows using (id)"
case $told in
'0|'*) ;;
*) no "${told%|*} of ${told#*|} rows that were committed before the crash are lost" ;;
esac
echo "$primary: written and read back; ${told#*|} rows from before a crash are there"
[ "$step" != 2 ] || exit 0

[ -z "$silent" ] || no "${silent%% *}: this server does not answer"
for host in $standbys; do
    told=0 tries=0
    # It streams, and has the row, or will have it in a moment.
    while [ "$told" != 1 ] && [ $tries -lt 20 ]; do
        told=$(ask "$host" -c "select count(*) from $rows where id = $newest") || true
        [ "$told" = 1 ] || sleep 0.1
        tries=$((tries + 1))
    done
    [ "$told" = 1 ] || no "$host: this standby does not have the newest row"
done
must "$primary" -c "select count(*) from pg_stat_replication where state = 'streaming'"
# shellcheck disable=SC2086
wanted=$(set -- $standbys; echo $#)
[ "$told" -ge "$wanted" ] || no "$primary: $told of $wanted standbys stream"
