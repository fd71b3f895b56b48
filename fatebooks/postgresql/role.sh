#!/bin/sh
# role.sh primary|standby: what is this PostgreSQL now? Runs on the host, as root, and asks as the user postgres.
set -eu
cd /
case $(runuser -u postgres -- psql -U postgres -d postgres -XtAc 'select pg_is_in_recovery()') in
f) role=primary ;;
t) role=standby ;;
*) echo "PostgreSQL does not answer here"; exit 127 ;;
esac
echo "$PISAURA_HOST is a $role"
[ $role = "$1" ]
