#!/bin/sh
# cool-cpu.sh: ends the processes that burn-cpu.sh has started for this case, and no others.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
pkill -KILL -f "^/bin/sh -c :;while :;do :;done pisaura-$PISAURA_CASE$" || true
