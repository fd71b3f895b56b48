#!/bin/sh
# burn-cpu.sh [COUNT]: so many processes (one for each cpu) do nothing but work. cool-cpu.sh undoes it.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
count=${1:-$(nproc)}
running=$(pgrep -fc "^/bin/sh -c :;while :;do :;done pisaura-$PISAURA_CASE$" || true)
while [ "$running" -lt "$count" ]; do
    setsid /bin/sh -c ':;while :;do :;done' "pisaura-$PISAURA_CASE" </dev/null >/dev/null 2>&1 &
    running=$((running + 1))
done
