#!/bin/sh
# start-unit.sh UNIT...: starts the systemd units again that stop-unit.sh has ended for this case, and no others. Returns when
# they say that they are ready. An option --kill is ignored, so that it can have the same arguments.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
[ "${1:-}" != --kill ] || shift
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
