#!/usr/bin/env python3
"""health.py [accepts]: does this Kafka take messages, and give them to a group? A new client gives a message to each partition of the
topic, with the consent of all replicas in sync, and a new member of the group KAFKA_GROUP reads them. Exit 0 only if all were read.
With `accepts` only whether any partition takes one."""
import os
import sys
import threading
import time

import client
import cluster
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

# A message is given up after this time, the whole after the second one.
MESSAGE_S = float(os.environ.get("KAFKA_MESSAGE_S") or 5)
WHOLE_S = 2 * MESSAGE_S


def no(text):
    print(text, file=sys.stderr)
    if os.environ.get("PISAURA_STEP") in ("1", "3"):
        # What is amiss with the cluster says more than what a client sees of it.
        try:
            cluster.whole()
        except cluster.No as why:
            print(f"{why} ({text})", file=sys.stderr)
    sys.exit(1)


def produced(step, begin, until):
    """The messages, by partition, that were accepted; and why others were not."""
    accepted, refused = {}, {}
    producer = Producer(client.settings(
        bootstrap_servers=begin, acks="all", message_timeout_ms=int(1000 * MESSAGE_S), request_timeout_ms=3000, socket_timeout_ms=3000,
        topic_metadata_refresh_interval_ms=500))

    def told(error, message):
        if error:
            refused[message.partition()] = error.str()
        else:
            accepted[message.partition()] = (message.value(), message.offset())

    for partition in client.partitions(producer, MESSAGE_S):
        value = f"{os.environ['PISAURA_CASE']}-health-{step}-{partition}-{time.monotonic_ns()}".encode()
        producer.produce(cluster.TOPIC, value, partition=partition, on_delivery=told)
    producer.flush(max(0, until - time.monotonic()))
    return accepted, refused


def read_by_group(accepted, begin, until):
    """What of these messages a new member of the group has not been given in time."""
    consumer = Consumer(client.settings(
        bootstrap_servers=begin, group_id=cluster.GROUP, session_timeout_ms=6000, enable_auto_commit=False,
        topic_metadata_refresh_interval_ms=500))
    missing = {partition: value for partition, (value, _) in accepted.items()}

    def given(consumer, assigned):
        # From its own messages on: what stands before them is not asked for.
        consumer.assign([
            TopicPartition(part.topic, part.partition, accepted[part.partition][1]) for part in assigned if part.partition in accepted
        ])

    consumer.subscribe([cluster.TOPIC], on_assign=given)
    try:
        while missing and time.monotonic() < until:
            message = consumer.poll(0.1)
            if message is not None and not message.error() and missing.get(message.partition()) == message.value():
                del missing[message.partition()]
    finally:
        consumer.close()
    return missing


def give_up():
    """Some calls of the library have no time limit."""
    print(f"no answer in {WHOLE_S + 2:.0f} s", file=sys.stderr, flush=True)
    os._exit(1)


def main():
    alarm = threading.Timer(WHOLE_S + 2, give_up)
    alarm.daemon = True
    alarm.start()
    step = os.environ.get("PISAURA_STEP", "")
    begin = client.brokers(without=cluster.TARGETS if step == "2" else ())
    until = time.monotonic() + WHOLE_S
    try:
        accepted, refused = produced(step, begin, until)
    except KafkaException as error:
        no(f"no broker answers: {error}")
    if "accepts" in sys.argv[1:]:
        if not accepted:
            no(f"nothing was accepted: {next(iter(refused.values()), 'no answer in time')}")
        print(f"accepted by partition {', '.join(map(str, sorted(accepted)))}")
        return
    if refused:
        no("; ".join(f"not accepted by partition {partition}: {why}" for partition, why in sorted(refused.items())))
    if not accepted:
        no("nothing was accepted in time")
    missing = read_by_group(accepted, begin, until)
    if missing:
        no(f"accepted, but not given to the group {cluster.GROUP} in time: the messages of partition {', '.join(map(str, sorted(missing)))}")
    print(f"accepted by {len(accepted)} partitions, and read by a new member of the group {cluster.GROUP}")


main()
