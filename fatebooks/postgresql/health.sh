#!/bin/sh
# health.sh --step=N: is this PostgreSQL a store that loses nothing? A client that finds the primary among the book's hosts
# inserts a row, reads it back, and looks whether all rows are there that were committed since the case began, its own and
# those of crash-under-writes.sh. Exit 0 only if all of them were read. Before the failure and after it every standby has to
# have them too. PGUSER, PGPASSWORD, PGDATABASE and PGPORT say how to get in; POSTGRESQL_ROW_KIB (1) is how large a row is.
# Needs psql, and a user who may create tables.
set -eu
command -v psql >/dev/null || { echo "there is no psql here"; exit 127; }
step=${1#--step=}
export PGCONNECT_TIMEOUT=2 PGOPTIONS='-c statement_timeout=5s -c client_min_messages=warning'
rows=pisaura_$PISAURA_CASE
# What was committed, a number a line; it lies in the working folder, which stays until the book is done.
committed=.postgresql-$PISAURA_CASE
[ "$step" != 1 ] || rm -f "$committed"
touch "$committed"

ask() { timeout 10 psql -XqtA -v ON_ERROR_STOP=1 "host=$hosts target_session_attrs=$kind" "$@"; }
# Fails with what psql has said.
must() { told=$(ask "$@") || { echo "$kind of $hosts: no answer, or a no"; exit 1; }; }

kind=primary hosts=$PISAURA_HOSTS
if [ "$step" = 1 ]; then
    must -c "drop table if exists $rows, ${rows}_seen" -c "create table $rows (id bigserial primary key, value text)" \
        -c "create table ${rows}_seen (id bigint)"
fi
# Of chance, so that it takes the room that it seems to take.
must -c "insert into $rows (value) select string_agg(md5(random()::text), '') from generate_series(1, 32 * ${POSTGRESQL_ROW_KIB:-1}) returning id"
echo "$told" >>"$committed"
must -c "select count(*) from $rows where id in ($(paste -sd, "$committed")) and length(value) > 0"
[ "$told" = "$(wc -l <"$committed")" ] || { echo "$told of $(wc -l <"$committed") rows that were committed are there"; exit 1; }
must -c "select count(*) filter (where $rows.id is null), count(*) from ${rows}_seen left join $rows using (id)"
case $told in
'0|'*) ;;
*) echo "${told%|*} of ${told#*|} rows that were committed before the crash are lost"; exit 1 ;;
esac
echo "written and read back; all $(wc -l <"$committed") committed rows are there, and ${told#*|} from before a crash"
[ "$step" != 2 ] || exit 0

newest=$(tail -n 1 "$committed")
kind=standby
for hosts in $(echo "$PISAURA_HOSTS" | tr , ' '); do
    # The primary is none.
    told=$(kind=any ask -c 'select pg_is_in_recovery()') || { echo "$hosts does not answer"; exit 1; }
    [ "$told" = t ] || continue
    must -c "select count(*) from $rows where id = $newest"
    [ "$told" = 1 ] || { echo "the standby $hosts does not have the newest row yet"; exit 1; }
done
[ "$step" = 3 ] || exit 0
# All was read. Whatever comes of this, it is not asked for again.
rm -f "$committed"
kind=primary hosts=$PISAURA_HOSTS
ask -c "drop table $rows, ${rows}_seen" >/dev/null || true
