#!/bin/sh
# healthcheck.sh BROKER --step=N: a message to the topic, with the consent of all replicas in sync, within ten seconds.
set -eu
id=$PISAURA_CASE-$(date +%s%N)
echo "$id" | timeout 12 kcat -P -b "$1" -t pisaura -X acks=all -X message.timeout.ms=10000
echo "accepted"
