#!/bin/sh
# kill.sh [--term] PIDFILE|NAME...: processes are ended by SIGKILL, or with --term by SIGTERM: those of a pid file, or all of
# exactly this name. What undoes it is the service's own start, for instance `systemctl start NAME`. That nothing is left to
# be killed is no mistake. Needs to be root or their owner.
set -eu
signal=KILL
[ "${1:-}" != --term ] || { signal=TERM; shift; }
[ $# != 0 ] || { sed -n '2s/^# //p' "$0" >&2; exit 1; }
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
        kill -$signal "$process" 2>/dev/null || [ ! -e "/proc/$process" ]
    done
done
