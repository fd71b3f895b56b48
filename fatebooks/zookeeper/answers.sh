#!/bin/sh
# answers.sh: does a broken server still answer a client that can reach it alone? Exit 0 if one of them tells what nodes there
# are, or creates one. Before the failure and after it all of them have to.
set -eu
# shellcheck source=fatebooks/zookeeper/cluster.sh
. "${0%/*}/cluster.sh"
answers=0 asked=0
for host in $targets; do
    asked=$((asked + 1))
    if printf 'ls /\ncreate %s-alone\ndelete %s-alone\nquit\n' "$node" "$node" | ask "$host" | grep -qE '^(\[.*\]|Created .*)$'; then
        echo "$host answers"
        answers=$((answers + 1))
    fi
done
if [ "$PISAURA_STEP" = 2 ]; then [ $answers != 0 ]; else [ $answers = $asked ]; fi
