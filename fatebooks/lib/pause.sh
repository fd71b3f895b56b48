#!/bin/sh
# pause.sh PIDFILE|NAME...: processes are stopped as they stand (SIGSTOP): those of a pid file, or all of exactly this name.
# resume.sh with the same arguments undoes it. Needs to be root or their owner.
set -eu
[ $# != 0 ] || { sed -n '2s/^# //p' "$0" >&2; exit 1; }
for which; do
    case $which in
    */*) processes=$(cat "$which") ;;
    *) processes=$(pgrep -x "$which") || { echo "no process is called $which" >&2; exit 1; } ;;
    esac
    # A pid file may hold several.
    # shellcheck disable=SC2086
    kill -STOP $processes
done
