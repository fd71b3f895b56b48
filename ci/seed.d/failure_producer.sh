#!/bin/sh
# failure_producer.sh PORT|revert: on a broker's host, nobody reaches this port any more, and the broker no ZooKeeper; or that is over.
set -eu
rules() {
    sudo -n iptables -w "$1" INPUT -p tcp --dport "$2" -m comment --comment remove_me -j DROP
    sudo -n iptables -w "$1" OUTPUT -p tcp --dport 2181 -m comment --comment remove_me -j DROP
}
if [ "$1" = revert ]; then
    while sudo -n iptables -w -S | grep -q remove_me; do
        sudo -n iptables -w -S | grep remove_me | sed 's/^-A/-D/; s/"//g' | while read -r rule; do
            # The rule is words on purpose.
            # shellcheck disable=SC2086
            sudo -n iptables -w $rule
        done
    done
else
    rules -I "$1"
fi
