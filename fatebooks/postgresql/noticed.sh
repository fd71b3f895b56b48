#!/bin/sh
# noticed.sh: has the primary noticed that a standby is gone? A failure that nobody notices tests nothing. Before the failure and
# after it all standbys stream.
set -eu
# shellcheck source=fatebooks/postgresql/cluster.sh
. "${0%/*}/cluster.sh"
find_primary
# shellcheck disable=SC2086
wanted=$(set -- $hosts; echo $(($# - 1)))
told=$(ask "$primary" -c "select count(*) from pg_stat_replication where state = 'streaming'") || no "$primary: $told"
echo "$told of $wanted standbys stream"
if [ "$PISAURA_STEP" = 2 ]; then
    [ "$told" -lt "$wanted" ] || no "$primary: it still streams to all $told standbys"
else
    [ "$told" -ge "$wanted" ] || no "$primary: $told of $wanted standbys stream"
fi
