#!/bin/sh
# Reverter: lets the replica run again, and waits until it does. A reverter may be run more than once, and when the
# inducer did nothing at all: it says what is to be, not what is to be changed.
rm -f stopped
tries=0
until kill -0 "$(cat replica.pid)" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || { echo "the replica does not come back" >&2; exit 1; }
    sleep 0.1
done
