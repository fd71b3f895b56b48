#!/bin/sh
# health.sh --step=N: is this Redis a store that answers? A client asks the sentinels for the primary, writes a key there, waits
# until a replica has confirmed it, and reads it back. Before the failure and after it there has to be one primary, every other
# server a replica of it that is connected and confirms, and all sentinels have to agree and be enough. Exit 0 only if the key
# was really read.
# Lists of hosts are words on purpose.
# shellcheck disable=SC2086
set -eu
# shellcheck source=fatebooks/redis/cluster.sh
. "${0%/*}/cluster.sh"
step=${1#--step=}
key=pisaura:$PISAURA_CASE:health
value=$step-$(date +%s%N)
replicas=1
[ "$step" = 2 ] || replicas=$((count - 1))

work() {
    # On one connection: replicas confirm what was written on the connection that waits.
    told=$(printf 'set %s %s ex 3600\nwait %s 1000\n' "$key" "$value" "$replicas" | redis "$primary" | paste -sd' ')
    confirmed=${told#OK }
    [ "$confirmed" -ge "$replicas" ] 2>/dev/null || { why="$primary: ${told:-no answer}: not confirmed by $replicas"; return 1; }
    told=$(redis "$primary" get "$key")
    [ "$told" = "$value" ] || { why="$primary: the key that was just confirmed is not there ($told)"; return 1; }
}

# A sentinel that is cut off still names the primary that it knew, so all that are named are tried.
primaries=$(named $hosts)
[ -n "$primaries" ] || no "no sentinel answers: $hosts"
done=''
while read -r primary _; do
    if work; then
        done=yes
        break
    fi
done <<END
$primaries
END
[ -n "$done" ] || no "$why"
echo "$primary: written, confirmed by $confirmed of $replicas, read back"
[ "$step" != 2 ] || exit 0

[ "$(echo "$primaries" | wc -l)" = 1 ] || no "the sentinels name several primaries: $(echo "$primaries" | paste -sd,)"
for host in $hosts; do
    told=$(redis "$host" role | paste -sd' ')
    case $told in
    'master '*) [ "$host" = "$primary" ] || no "$host: this server is a primary, too, beside $primary" ;;
    "slave $primary "*' connected '*) ;;
    *) no "$host: this server is no connected replica of $primary: ${told:-no answer}" ;;
    esac
    told=$(sentinel "$host" ckquorum "$name") || no "$host: this sentinel does not answer"
    case $told in OK*) ;; *) no "$host: $told" ;; esac
    # As many as there are hosts, or one that is gone for good is not missed.
    usable=$(echo "$told" | sed -n 's/^OK \([0-9]*\) usable.*/\1/p')
    [ "${usable:-0}" -ge "$count" ] || no "$host: only ${usable:-0} of $count sentinels are usable"
done
