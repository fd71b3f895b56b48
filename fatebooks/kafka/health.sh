#!/bin/sh
# health.sh --step=N: is this Kafka a log that loses nothing? Produces a message to each partition, with the consent of all
# replicas in sync, and consumes the topic's newest ones: all must be there that were accepted since the case began. Exit 0 only if all of
# them were read. KAFKA_BROKERS (the book's hosts, port KAFKA_PORT, 9092) and KAFKA_TOPIC (pisaura) may be set, and what kcat
# needs to log in by KCAT_CONFIG, a file. The topic has to be there, or to be made by itself. Needs kcat.
set -eu
step=${1#--step=}
command -v kcat >/dev/null || { echo "there is no kcat here"; exit 127; }
port=${KAFKA_PORT:-9092}
brokers=${KAFKA_BROKERS:-$(for host in $(echo "$PISAURA_HOSTS" | tr , ' '); do
    case $host in *:*) echo "[$host]:$port" ;; *) echo "$host:$port" ;; esac
done | paste -sd,)}
topic=${KAFKA_TOPIC:-pisaura}
# What was accepted, a message a line; it lies in the working folder, which stays until the book is done.
accepted=.kafka-$PISAURA_CASE
[ "$step" != 1 ] || rm -f "$accepted"
touch "$accepted"

# To each partition, for each has a leader of its own.
listed=$(timeout 15 kcat -L -b "$brokers" -t "$topic" 2>&1) || { echo "no broker answers: $listed"; exit 1; }
partitions=$(echo "$listed" | sed -n 's/^ *partition \([0-9]*\), leader.*/\1/p')
[ -n "$partitions" ] || { echo "the topic $topic has no partitions: $listed"; exit 1; }
for partition in $partitions; do
    message=$PISAURA_CASE-$step-$partition-$(date +%s%N)
    said=$(echo "$message" | timeout 15 kcat -P -b "$brokers" -t "$topic" -p "$partition" -X acks=all -X message.timeout.ms=8000 2>&1) ||
        { echo "not accepted by partition $partition: $said"; exit 1; }
    echo "$message" >>"$accepted"
done
consumed=$(timeout 15 kcat -C -b "$brokers" -t "$topic" -o -10000 -e -q 2>&1) || { echo "not consumed: $consumed"; exit 1; }
while read -r message; do
    echo "$consumed" | grep -qxF "$message" || { echo "$message was accepted, and is lost"; exit 1; }
done <"$accepted"
echo "produced and consumed; all $(wc -l <"$accepted") accepted messages are there"
