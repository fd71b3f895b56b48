#!/bin/sh
# pause-unit.sh UNIT...: all processes of these systemd units stop as they stand (SIGSTOP): they keep their connections and
# answer nobody. resume-unit.sh with the same arguments undoes it. Needs root (or sudo) and systemd.
set -eu
[ $# != 0 ] || { sed -n '2s/^# //p' "$0" >&2; exit 1; }
[ "$(id -u)" = 0 ] || exec sudo -n "$0" "$@"
for unit; do
    systemctl is-active --quiet "$unit" || { echo "$unit is not running" >&2; exit 1; }
    [ "$(systemctl show --property MainPID --value "$unit")" != 0 ] ||
        { echo "$unit has no process of its own: name the unit that has" >&2; exit 1; }
    systemctl kill --kill-who=all --signal=STOP "$unit"
done
