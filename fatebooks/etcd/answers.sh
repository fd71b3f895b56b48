#!/bin/sh
# answers.sh: does a broken member still answer a client that can reach it alone? Exit 0 if one of them takes a write, or
# answers a read that is to be linearizable, which is what etcd does unless it is asked for less. Before the failure and
# after it all of them have to.
set -eu
# shellcheck source=fatebooks/etcd/cluster.sh
. "${0%/*}/cluster.sh"
answers=0 count=0
for host in $targets; do
    count=$((count + 1))
    if ask "$host" get "$keys/health" >/dev/null || ask "$host" put "$keys/answers" "$PISAURA_STEP" >/dev/null; then
        echo "$host answers"
        answers=$((answers + 1))
    fi
done
if [ "$PISAURA_STEP" = 2 ]; then [ $answers != 0 ]; else [ $answers = $count ]; fi
