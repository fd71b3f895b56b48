#!/bin/sh
# drop-connections.sh: ends the processes by which hold-connections.sh keeps connections for this case, and no others. Arguments are not
# needed, and ignored.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
# Again until there are none: one may just have been starting another.
while processes=$(grep -lsz "^PISAURA_HOLDS=connections-$PISAURA_CASE\$" /proc/[0-9]*/environ | cut -d/ -f3) && [ -n "$processes" ]; do
    for process in $processes; do
        kill -KILL "$process" 2>/dev/null || [ ! -e "/proc/$process" ]
    done
done
