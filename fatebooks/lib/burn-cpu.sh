#!/bin/sh
# burn-cpu.sh [COUNT]: so many processes (one for each cpu) do nothing but work. cool-cpu.sh undoes it.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
count=${1:-$(nproc)}
# All of them carry a variable, so that cool-cpu.sh finds them.
running=$(grep -lsz "^PISAURA_BURNS=cpu-$PISAURA_CASE\$" /proc/[0-9]*/environ | wc -l)
while [ "$running" -lt "$count" ]; do
    PISAURA_BURNS=cpu-$PISAURA_CASE setsid /bin/sh -c 'while :; do :; done' burn </dev/null >/dev/null 2>&1 &
    running=$((running + 1))
done
