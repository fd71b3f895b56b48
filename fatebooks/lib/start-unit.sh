#!/bin/sh
# start-unit.sh [--port PORT] [--until COMMAND] [--within SECONDS] UNIT...: starts the systemd units again that stop-unit.sh has ended for
# this case, and no others. Returns when they say that they are ready; with --port once somebody listens there, with --until once this
# shell text succeeds, for many units are ready by their word long before they serve; that is waited for for 120 s, or as --within says.
# An option --kill is ignored, so that it can have the same arguments.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
ports='' until='' within=120
while :; do
    case ${1:-} in
    --kill) ;;
    --port) ports="$ports $2" && shift ;;
    --until) until=$2 && shift ;;
    --within) within=$2 && shift ;;
    -*) sed -n '2s/^# //p' "$0" >&2; exit 1 ;;
    *) break ;;
    esac
    shift
done
for unit; do
    unit=$(systemctl show --property Id --value "$unit")
    mark=/run/systemd/system/$unit.d/pisaura-$PISAURA_CASE.conf
    [ -e "$mark" ] || continue
    # The mark stays until the unit is up, but says nothing about restarts any more.
    echo '[Service]' >"$mark"
    systemctl daemon-reload
    # A unit that has been ended too often in a short time would not be started.
    systemctl reset-failed "$unit" 2>/dev/null || true
    systemctl start "$unit"
    rm -f "$mark"
    rmdir "${mark%/*}" 2>/dev/null || true
    systemctl daemon-reload
done
# The kernel's own list of who listens, where 0A says so.
listens() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$(printf ':%04X' "$1")" '
        $4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }'
}
is_ready() {
    for port in $ports; do
        listens "$port" || { why="nobody listens at port $port"; return 1; }
    done
    [ -z "$until" ] || /bin/sh -c "$until" >/dev/null 2>&1 || { why="\`$until\` fails"; return 1; }
}
# The step that this is has a limit of its own; nobody waits here for ever.
tries=0
until is_ready; do
    tries=$((tries + 1))
    [ $tries -le $((within * 10)) ] || { echo "$*: started, and after $within s $why" >&2; exit 1; }
    sleep 0.1
done
