#!/bin/sh
# Inducer: takes this host's replica away and keeps it away. Runs on the host, in the user's home.
touch stopped
kill -KILL "$(cat replica.pid)"
echo "stopped the replica on $PISAURA_HOST"
