#!/bin/sh
# kill.sh PIDFILE|NAME...: processes are killed (SIGKILL): those of a pid file, or all of exactly this name. What undoes it is
# the service's own start, for instance `systemctl start NAME`. That nothing is left to be killed is no mistake.
set -eu
for which; do
    case $which in
    */*) processes=$(cat "$which" 2>/dev/null) || continue ;;
    *)
        # The kernel keeps no more of a name.
        [ ${#which} -le 15 ] || { echo "no process can be called $which: names have 15 letters at most" >&2; exit 1; }
        processes=$(pgrep -x "$which") || continue
        ;;
    esac
    for process in $processes; do
        kill -KILL "$process" 2>/dev/null || [ ! -e "/proc/$process" ]
    done
done
