#!/bin/sh
# exhaust-connections.sh: opens connections until no more are let in, and keeps them. free-connections.sh undoes it.
# PGUSER, PGPASSWORD and PGDATABASE say how to get in; a superuser would take those that are kept for superusers.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
export PGAPPNAME="pisaura-$PISAURA_CASE" PGHOST=127.0.0.1 PGCONNECT_TIMEOUT=5
count=0
while [ $count -lt 2000 ]; do
    # Whoever is let in stays for an hour at most.
    told=$(psql -Xc 'select 1' 2>&1 >/dev/null) || break
    setsid psql -Xqc 'select pg_sleep(3600)' </dev/null >/dev/null 2>&1 &
    count=$((count + 1))
    # One after the other: until it is in, there seems to be room for another.
    [ $((count % 5)) != 0 ] || sleep 0.1
done
case ${told:-} in
*'connection slots'* | *'too many clients'*) echo "$count connections were opened, then: $told" ;;
*) echo "after $count connections: ${told:-there is room for more}"; exit 1 ;;
esac
