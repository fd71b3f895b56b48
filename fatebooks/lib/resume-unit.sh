#!/bin/sh
# resume-unit.sh UNIT...: lets systemd units go on that pause-unit.sh has stopped. What goes on already does so.
set -eu
[ "$(id -u)" = 0 ] || exec sudo -n "$0" "$@"
for unit; do
    # It may be on its way down, or be down, where nothing is left that could go on.
    systemctl kill --kill-who=all --signal=CONT "$unit" 2>/dev/null ||
        case $(systemctl show --property ActiveState --value "$unit") in inactive | failed) ;; *) exit 1 ;; esac
done
