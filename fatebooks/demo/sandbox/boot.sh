#!/bin/sh
# Run when a demo host starts: the supervisor of this host's replica. It starts the replica, and starts it again
# whenever it ends, unless the file `stopped` says that it is to stay away.
mkdir -p inbox notes
while :; do
    if [ -e stopped ]; then
        sleep 0.1
        continue
    fi
    sh ./replica.sh &
    echo $! >replica.pid
    wait $!
    sleep 1.5 # as a supervisor does, so that a replica that cannot start does not spin
done
