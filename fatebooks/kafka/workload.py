#!/usr/bin/env python3
"""workload.py: a client that stays, as services have it: it gives messages with ids of their own to each partition of the topic all the
while, KAFKA_RATE (20) a second to each. An id is PARTITION/NUMBER. At the end it reads all partitions and says what was accepted and is
not there. Messages that are there twice are an error, unless some were not answered in time: of these a producer cannot know.

KAFKA_ACKS (all), KAFKA_IDEMPOTENCE (true), KAFKA_REQUEST_TIMEOUT_MS (3000) and KAFKA_MESSAGE_TIMEOUT_MS (120000) are those of the
services' own producers."""
import os
import sys
import threading
import time

import client
import cluster
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Producer, TopicPartition

RATE = float(os.environ.get("KAFKA_RATE") or 20)
# Waiting for what is on its way, and then reading all of it.
END_S = 25
CASE = os.environ["PISAURA_CASE"]
REQUEST_MS = int(os.environ.get("KAFKA_REQUEST_TIMEOUT_MS") or 3000)


def no(text):
    print(text, file=sys.stderr, flush=True)
    os._exit(1)


class Writer:
    """A producer, and a new one in its place when it gives up: one that is idempotent does so once it has lost count."""

    def __init__(self):
        self.accepted, self.unanswered = {}, 0
        self.renew()

    def renew(self):
        acks, idempotence = os.environ.get("KAFKA_ACKS") or "all", os.environ.get("KAFKA_IDEMPOTENCE") or "true"
        self.producer = Producer(client.settings(
            bootstrap_servers=client.brokers(),
            acks=acks,
            enable_idempotence=idempotence if acks in ("all", "-1") else "false",
            # The one is for the broker, the other for a broker that says nothing.
            request_timeout_ms=REQUEST_MS,
            socket_timeout_ms=REQUEST_MS,
            message_timeout_ms=int(os.environ.get("KAFKA_MESSAGE_TIMEOUT_MS") or 120000),
            topic_metadata_refresh_interval_ms=1000,
            queue_buffering_max_messages=1000000,
            linger_ms=0,
        ))

    def told(self, error, message):
        number, part = int(message.key()), message.partition()
        if error:
            self.unanswered += 1
            print(f"err {part}/{number} {error.str()}", flush=True)
        else:
            self.accepted.setdefault(part, set()).add(number)
            print(f"ok {part}/{number}", flush=True)

    def write(self, part, number):
        try:
            self.producer.produce(cluster.TOPIC, CASE, key=str(number), partition=part, on_delivery=self.told)
        except (KafkaException, BufferError) as error:
            self.unanswered += 1
            print(f"err {part}/{number} {error}", flush=True)

    def poll(self, seconds):
        try:
            self.producer.poll(seconds)
        except KafkaException as error:
            if not error.args[0].fatal():
                raise
            print(f"the producer has given up, and there is a new one: {error.args[0].str()}", file=sys.stderr, flush=True)
            self.end_producer()
            self.renew()

    def end_producer(self):
        """Hears of all that is not on its way any more. Its fatal error is told again at each call."""
        for _ in range(5):
            try:
                self.producer.purge()
                if not self.producer.flush(0.1):
                    return
            except KafkaException:
                pass

    def finish(self):
        """Waits for what is on its way; answers with how many messages still are."""
        until = time.monotonic() + END_S
        while len(self.producer) and time.monotonic() < until:
            self.poll(0.1)
        return len(self.producer)


def main():
    writer = Writer()
    reader = Consumer(client.settings(bootstrap_servers=client.brokers(), group_id=f"{cluster.GROUP}-none", enable_auto_commit=False))
    partitions = client.partitions(writer.producer, 15)
    begins = {part: end_of(reader, part) for part in partitions}
    over = threading.Event()

    def listen():
        # Our input ends when we are to stop.
        for _ in sys.stdin:
            pass
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    number, due = 0, time.monotonic()
    while not over.is_set():
        number += 1
        for part in partitions:
            writer.write(part, number)
        due = max(due + 1 / RATE, time.monotonic() - 1)
        while True:
            writer.poll(max(0, min(0.05, due - time.monotonic())))
            if time.monotonic() >= due or over.is_set():
                break
    waiting = writer.finish()
    if waiting:
        no(f"{waiting} messages are still on their way {END_S} s after the end: the cluster does not take them")
    doubled = look(reader, begins, writer.accepted)
    if doubled and not writer.unanswered:
        no(f"{len(doubled)} messages are there twice, as {', '.join(sorted(doubled)[:3])}")


def end_of(reader, part):
    """Where the partition ends now; its leader may just be changing."""
    until = time.monotonic() + END_S
    while True:
        try:
            return reader.get_watermark_offsets(TopicPartition(cluster.TOPIC, part), timeout=5)[1]
        except KafkaException as error:
            if time.monotonic() > until:
                no(f"nobody says where partition {part} ends: {error}")
            time.sleep(0.2)


def look(reader, begins, accepted):
    """Reads each partition from where it was at the beginning; says what is lost, and gives what is there twice."""
    doubled, until = set(), time.monotonic() + END_S
    for part, begin in begins.items():
        end = end_of(reader, part)
        reader.assign([TopicPartition(cluster.TOPIC, part, begin)])
        found, at = set(), begin
        while at < end:
            message = reader.poll(1)
            if time.monotonic() > until:
                no(f"partition {part} could not be read to its end in {END_S} s")
            # Where it is by its own word: the rest may be marks of transactions.
            position = reader.position([TopicPartition(cluster.TOPIC, part)])[0].offset
            at = max(at, position) if position != OFFSET_INVALID else at
            if message is not None and message.error() and message.error().code() == KafkaError.OFFSET_OUT_OF_RANGE:
                # What stood there is gone, and so is the position.
                break
            if message is None or message.error() or message.value() != CASE.encode():
                continue
            number = int(message.key())
            if number in found:
                doubled.add(f"{part}/{number}")
            found.add(number)
        for number in sorted(accepted.get(part, set()) - found):
            print(f"lost {part}/{number}", flush=True)
    reader.close()
    return doubled


try:
    main()
except KafkaException as error:
    no(f"the cluster cannot be asked: {error}")
