#!/bin/sh
# resume.sh PIDFILE|NAME...: lets processes go on that pause.sh has stopped. One that goes on already, or has gone, is none.
set -eu
for which; do
    case $which in
    */*) processes=$(cat "$which" 2>/dev/null) || continue ;;
    *) processes=$(pgrep -x "$which") || continue ;;
    esac
    for process in $processes; do
        kill -CONT "$process" 2>/dev/null || [ ! -e "/proc/$process" ]
    done
done
