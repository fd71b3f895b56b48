#!/bin/sh
# stop-unit.sh [--kill] UNIT...: systemd units are stopped, and not started again by systemd; with --kill all their processes
# end by SIGKILL, as in a crash. start-unit.sh undoes it. Needs root (or sudo) and systemd. What was not running is no failure
# of ours: exit 1.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
kills=''
[ "${1:-}" != --kill ] || { kills=yes; shift; }
case ${1:-} in -*) shift $# ;; esac
[ $# != 0 ] || { sed -n '2s/^# //p' "$0" >&2; exit 1; }
for unit; do
    unit=$(systemctl show --property Id --value "$unit")
    # The drop-in is the mark by which start-unit.sh knows that it was us, so it comes first.
    mark=/run/systemd/system/$unit.d/pisaura-$PISAURA_CASE.conf
    case $(systemctl show --property ActiveState --value "$unit") in
    inactive | failed) [ -e "$mark" ] || { echo "$unit is not running" >&2; exit 1; } ;;
    esac
    # A unit that only stands for others has no process that could be killed.
    [ -z "$kills" ] || [ -e "$mark" ] || [ "$(systemctl show --property MainPID --value "$unit")" != 0 ] ||
        { echo "$unit has no process of its own: name the unit that has" >&2; exit 1; }
    mkdir -p "${mark%/*}"
    printf '[Service]\nRestart=no\n' >"$mark"
    systemctl daemon-reload
    [ -z "$kills" ] || systemctl kill --kill-who=all --signal=KILL "$unit"
    # After a kill this waits until systemd has seen it, and calls off a start that it had in mind.
    systemctl stop "$unit"
done
