#!/bin/sh
# answers.sh: does a broken server still take writes from a client that can reach it alone? What it takes will be lost, so it
# has to refuse once no replica has confirmed anything for a while (min-replicas-to-write, min-replicas-max-lag). Exit 0 if one
# takes a write, 126 if one does not say that it refuses. Before the failure and after it that is asked of the primary.
# Lists of hosts are words on purpose.
# shellcheck disable=SC2086
set -eu
# shellcheck source=fatebooks/redis/cluster.sh
. "${0%/*}/cluster.sh"
asked=$targets
[ "$PISAURA_STEP" = 2 ] || asked=$(named $hosts | head -n 1 | cut -d' ' -f1)
for host in $asked; do
    told=$(redis "$host" set "pisaura:$PISAURA_CASE:alone" "$PISAURA_STEP" ex 3600 | head -n 1)
    echo "$host: ${told:-no answer}"
    case $told in
    OK*) exit 0 ;;
    *NOREPLICAS* | *READONLY* | *LOADING* | *MASTERDOWN*) ;;
    *) exit 126 ;;
    esac
done
exit 1
