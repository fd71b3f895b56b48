#!/bin/sh
# free-connections.sh: ends the connections that exhaust-connections.sh has opened for this case, and no others. Runs as root,
# and asks as the user postgres, for whom some are kept.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
ours="from pg_stat_activity where application_name = 'pisaura-$PISAURA_CASE'"
cd /
psql() { runuser -u postgres -- psql -XqtA -U postgres -d postgres "$@"; }
tries=0
# Some may have been on their way in.
until [ "$(psql -c "select count(*) $ours")" = 0 ]; do
    psql -c "select pg_terminate_backend(pid) $ours" >/dev/null
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "they do not end"; exit 1; }
    sleep 0.1
done
