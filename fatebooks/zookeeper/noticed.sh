#!/bin/sh
# noticed.sh new-leader|gone|away|alone: has ZooKeeper noticed the failure? A failure that nobody notices tests nothing.
#   new-leader  the others have a leader among them
#   gone        the broken servers do not answer, and the others have a leader among them
#   away        the broken servers do not serve, and the others have a leader among them
#   alone       the others do not serve: they are too few
# Before the failure and after it every server serves, one of them as the leader, and they are an odd number.
# Lists of hosts are words on purpose.
# shellcheck disable=SC2086
set -eu
# shellcheck source=fatebooks/zookeeper/cluster.sh
. "${0%/*}/cluster.sh"

# led HOST...: all of these serve, and one of them leads; tells which.
led() {
    leader=''
    for host; do
        now=$(mode "$host")
        case $now in
        leader)
            [ -z "$leader" ] || no "there are two leaders: $leader and $host"
            leader=$host
            ;;
        follower) ;;
        *) no "$host: this server does not serve${now:+: it is $now}" ;;
        esac
    done
    [ -n "$leader" ] || no "none of $* leads"
}

# serves_none HOST...: each of them says so. One that says nothing may serve others.
serves_none() {
    for host; do
        now=$(mode "$host")
        [ "$now" = none ] || no "$host: this server ${now:+still serves, as }${now:-does not answer}"
    done
}

if [ "$PISAURA_STEP" != 2 ]; then
    [ $((count % 2)) = 1 ] || no "an even number of servers, $count, stands no more than one fewer"
    led $hosts
    echo "whole; the leader is $leader"
    exit 0
fi
case $1 in
new-leader) led $others ;;
gone)
    for host in $targets; do
        now=$(mode "$host")
        [ -z "$now" ] || no "$host: this server still answers"
    done
    led $others
    ;;
away)
    serves_none $targets
    led $others
    ;;
alone)
    serves_none $others
    leader=none
    ;;
*) sed -n '2s/^# //p' "$0" >&2; exit 127 ;;
esac
echo "the leader is $leader"
