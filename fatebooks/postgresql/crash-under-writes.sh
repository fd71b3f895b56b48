#!/bin/sh
# crash-under-writes.sh UNIT: kills the server (SIGKILL) while rows are being written, and starts it again. What it had said to
# be committed goes into a table, where health.sh looks whether any of it is lost. Runs on the primary, as root.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
rows=pisaura_$PISAURA_CASE
# Whoever is killed here leaves one folder, in memory, and the next one takes it.
folder=/run/pisaura-$PISAURA_CASE-crash
rm -rf "$folder"
mkdir "$folder"
cd /
psql() { runuser -u postgres -- psql -XqtA -U postgres -d "${PGDATABASE:-postgres}" "$@"; }

: >"$folder/committed"
# Each is a transaction of its own; its number is printed once it is committed. Bounded, should nobody end it.
seq 100000 | sed "s/.*/insert into $rows (value) values ('&') returning id;/" | psql >"$folder/committed" 2>/dev/null &
writer=$!
tries=0
until [ "$(wc -l <"$folder/committed")" -ge 200 ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "only $(wc -l <"$folder/committed") rows were written in 10 s"; exit 1; }
    sleep 0.1
done
systemctl kill --kill-who=all --signal=KILL "$1"
# Whoever could go on writing was not killed.
! wait $writer || { echo "the server was not killed: is $1 the unit that runs it?"; exit 1; }
# After a kill this waits until systemd has seen it.
systemctl stop "$1"
systemctl reset-failed "$1" 2>/dev/null || true
systemctl start "$1"
# The last line may have been cut.
sed '$d' "$folder/committed" | grep -x '[0-9]*' | psql -c "copy ${rows}_seen from stdin"
count=$(wc -l <"$folder/committed")
rm -rf "$folder"
echo "$count rows were committed when it was killed"
