#!/bin/sh
# noticed.sh new-leader|gone|away|alone: has etcd noticed the failure? A failure that nobody notices tests nothing.
#   new-leader  the others have chosen another leader
#   gone        the broken members do not answer, and the others agree on a leader
#   away        the broken members know of no leader, and the others agree on one
#   alone       the others know of no leader: they are too few
# Before the failure and after it the cluster has to be whole: all hosts of the book are its members, and no others, all of
# one cluster, none a learner, none with an alarm, and all agree on one leader.
# Lists of hosts are words on purpose.
# shellcheck disable=SC2086
set -eu
# shellcheck source=fatebooks/etcd/cluster.sh
. "${0%/*}/cluster.sh"
# What was before the failure: the leader and the term. It lies in the working folder, which stays until the book is done.
before=.etcd-$PISAURA_CASE-leader

no() { echo "$*" >&2; exit 1; }

# agreed HOST...: all of these members name the same leader, in the same term; tells both.
agreed() {
    agreed=''
    for host; do
        status=$(ask "$host" endpoint status --write-out=fields) || no "$host: this member does not answer"
        leader=$(echo "$status" | field Leader)
        [ "${leader:-0}" != 0 ] || no "$host: this member knows of no leader"
        now="$leader $(echo "$status" | field RaftTerm)"
        [ "${agreed:=$now}" = "$now" ] || no "$host: leader and term are $now, for others they are $agreed"
    done
}

# knows_no_leader HOST...: each of them says so. One that says nothing may have any.
knows_no_leader() {
    for host; do
        status=$(ask "$host" endpoint status --write-out=fields) || no "$host: this member does not answer"
        leader=$(echo "$status" | field Leader)
        [ "${leader:-0}" = 0 ] || no "$host: this member still follows $leader"
    done
}

whole() {
    count=0 cluster=''
    for host in $hosts; do
        count=$((count + 1))
        status=$(ask "$host" endpoint status --write-out=fields) || no "$host: this member does not answer"
        now=$(echo "$status" | field ClusterID)
        [ "${cluster:=$now}" = "$now" ] || no "$host: this member is of another cluster"
        members=$(ask "$host" member list) || no "$host: this member does not list the members"
        listed=$(echo "$members" | grep -c ', started, .*, false$' || true)
        [ "$listed" = "$(echo "$members" | grep -c .)" ] || no "$host: not all members are started, or one is a learner"
        alarms=$(ask "$host" alarm list) || no "$host: this member does not list alarms"
        [ -z "$alarms" ] || no "$host: $alarms"
    done
    [ "$listed" = "$count" ] || no "the cluster has $listed members, and the book $count hosts"
    [ $((count % 2)) = 1 ] || no "an even number of members, $count, stands no more than one fewer"
    agreed $hosts
}

case $PISAURA_STEP in
1)
    whole
    echo "$agreed" >"$before"
    echo "whole; leader and term are $agreed"
    exit 0
    ;;
3)
    whole
    rm -f "$before"
    echo "whole again; leader and term are $agreed"
    exit 0
    ;;
esac
old=$(cat "$before")
case $1 in
new-leader)
    agreed $others
    [ "${agreed% *}" != "${old% *}" ] || no "the leader is still ${old% *}"
    [ "${agreed#* }" -gt "${old#* }" ] || no "the term is still ${old#* }"
    ;;
gone)
    for host in $targets; do
        ! ask "$host" endpoint status >/dev/null || no "$host: this member still answers"
    done
    agreed $others
    ;;
away)
    knows_no_leader $targets
    agreed $others
    ;;
alone)
    knows_no_leader $others
    agreed=none
    ;;
*) sed -n '2s/^# //p' "$0" >&2; exit 127 ;;
esac
echo "leader and term were $old, and are $agreed"
