#!/usr/bin/env python3
"""cluster.py QUESTION: is this Kafka whole, has it noticed a failure, and what is this host's part in it?

Each broker is asked alone, over a connection of its own: a client library asks whichever it likes, and a broker that is cut off
tells what it knew before. Speaks Kafka's protocol without TLS and SASL; needs nothing but Python.

On a host, as `only_if` (exit 0 yes, 1 no):
  leads          it leads partition 0 of the topic
  follows        it is the first of the others that have partition 0 in sync
  controls       its controller is the active one (KAFKA_CONTROLLER_DATA), or with ZooKeeper its broker
  coordinates    it coordinates the group

Where the case runs, as a check. In step 1 and 3 the cluster has to be whole. In step 2:
  out            the other brokers have the broken ones in no ISR, and leaders for all partitions
  lags           the other brokers have the broken ones out of the ISR of all partitions of the topic that they lead
  still-in       the other brokers have the broken ones in the ISR of all partitions: nobody has noticed
  alone          the only broker that is left has all others out of the ISR
  controller     another controller is active
  frozen         no controller is active
"""
import os
import socket
import struct
import sys
import traceback

PATIENCE_S = 2
# Each controller hears of something new twice a second.
CONTROLLER_BEHIND_S = 5
TOPIC = os.environ.get("KAFKA_TOPIC") or "pisaura"
GROUP = os.environ.get("KAFKA_GROUP") or "pisaura"
PORT = int(os.environ.get("KAFKA_PORT") or 9092)
CONTROLLER_PORT = int(os.environ.get("KAFKA_CONTROLLER_PORT") or 9093)
REPLICAS = int(os.environ.get("KAFKA_REPLICAS") or 3)
OFFSETS = "__consumer_offsets"
HOSTS = [host for host in (os.environ.get("PISAURA_HOSTS") or "").split(",") if host]
TARGETS = [host for host in (os.environ.get("PISAURA_TARGETS") or "").split(",") if host]
OTHERS = [host for host in HOSTS if host not in TARGETS]
# Numbers of requests, and of the answer "that version is not supported" (Kafka's protocol guide).
METADATA, FIND_COORDINATOR, DESCRIBE_CONFIGS, ELECT_LEADERS, DESCRIBE_QUORUM = 3, 10, 32, 43, 55
UNSUPPORTED = 35


class No(Exception):
    """What is not as it has to be, or a broker that does not answer."""


class Closed(No):
    """A broker has closed the connection, as it does with what it does not know."""


class NoController(No):
    """A controller says that none is active."""


def no(text):
    raise No(text)


class Reader:
    """An answer, read from its beginning."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        (value,) = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return value

    def raw(self, count):
        self.at += count
        return self.data[self.at - count : self.at]

    def text(self):
        count = self.take("h")
        return None if count < 0 else self.raw(count).decode()

    def array(self, read):
        return [read() for _ in range(max(0, self.take("i")))]

    # The same in the compact form of newer requests.

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take("B")
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def compact_array(self, read):
        return [read() for _ in range(max(0, self.varint() - 1))]

    def tags(self):
        for _ in range(self.varint()):
            self.varint()
            self.raw(self.varint())


def text(value):
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def ask(host, key, version, body, port=PORT, compact=False):
    """What this broker, or controller, answers to a request."""
    head = struct.pack(">hhi", key, version, 1) + text("pisaura") + (b"\0" if compact else b"")
    try:
        with socket.create_connection((host, port), timeout=PATIENCE_S) as connection:
            connection.sendall(struct.pack(">i", len(head + body)) + head + body)
            stream = connection.makefile("rb")
            size = stream.read(4)
            answer = stream.read(struct.unpack(">i", size)[0]) if len(size) == 4 else b""
    except OSError as error:
        raise No(f"{host}: port {port} does not answer: {error}")
    if len(answer) < 4:
        raise Closed(f"{host}: port {port} was closed without an answer")
    reader = Reader(answer)
    reader.take("i")
    if compact:
        reader.tags()
    return reader


class Partition:
    """A partition, as a broker sees it."""

    def __init__(self, topic, reader):
        self.topic, self.error, self.number, self.leader = topic, reader.take("h"), reader.take("i"), reader.take("i")
        self.replicas = reader.array(lambda: reader.take("i"))
        self.isr = reader.array(lambda: reader.take("i"))

    def __str__(self):
        return f"{self.topic}/{self.number}"


class View:
    """What one broker sees of the cluster."""

    def __init__(self, host, topics=(TOPIC, OFFSETS)):
        self.host = host
        reader = ask(host, METADATA, 4, struct.pack(">i", len(topics)) + b"".join(map(text, topics)) + b"\0")
        reader.take("i")
        self.brokers = {}
        for _ in range(reader.take("i")):
            number, name, port, _ = reader.take("i"), reader.text(), reader.take("i"), reader.text()
            self.brokers[number] = (name, port)
        reader.text()
        self.controller = reader.take("i")
        self.partitions = []
        for _ in range(reader.take("i")):
            error, name, _ = reader.take("h"), reader.text(), reader.take("b")
            found = reader.array(lambda: Partition(name, reader))
            if error or not found:
                no(f"{host}: the topic {name} is not there" + (f" (error {error})" if error else ""))
            self.partitions += found
        self.partitions.sort(key=lambda partition: (partition.topic != TOPIC, partition.topic, partition.number))

    def number_of(self, host):
        """The number of the broker on this host of the book."""
        told = (os.environ.get("KAFKA_IDS") or "").split(",")
        if told != [""]:
            return int(told[HOSTS.index(host)])
        addresses = addresses_of(host)
        for number, (name, _) in self.brokers.items():
            if name == host or addresses & addresses_of(name):
                return number
        return None


def addresses_of(name):
    try:
        return {found[4][0] for found in socket.getaddrinfo(name, None)}
    except OSError:
        return set()


def quorum(hosts):
    """The active controller, its epoch, and of each voter for how many seconds it has not kept up; None where Kafka has ZooKeeper
    instead. Controllers on these hosts are asked themselves: a broker waits long for one that is silent. Where none can be reached,
    brokers are asked."""
    found, told, is_known = [], "", False
    for host in hosts:
        try:
            found.append(quorum_by(host, CONTROLLER_PORT))
            is_known = True
        except NoController as error:
            told, is_known = str(error), True
        except No as error:
            told = told or str(error)
    if found:
        return max(found, key=lambda one: one[1])
    if is_known:
        raise NoController(told)
    for host in hosts:
        try:
            return quorum_by(host, PORT)
        except Closed:
            return None
        except No as error:
            told = str(error)
    raise No(told)


def quorum_by(host, port):
    """The same, by the word of one server."""
    body = b"\2" + b"\x13__cluster_metadata" + b"\2" + struct.pack(">i", 0) + b"\0\0\0"
    reader = ask(host, DESCRIBE_QUORUM, 1, body, port, compact=True)
    error = reader.take("h")
    if error == UNSUPPORTED:
        return None
    if error:
        raise NoController(f"{host}: no controller is active (error {error})")
    reader.varint()
    reader.raw(reader.varint() - 1)
    reader.varint()
    _, error, leader, epoch, _ = (reader.take(form) for form in "ihiiq")
    if error or leader < 0:
        raise NoController(f"{host}: no controller is active" + (f" (error {error})" if error else ""))
    seen = reader.compact_array(lambda: ([reader.take(form) for form in "iqqq"], reader.tags())[0])
    newest = max(caught_up_ms for _, _, _, caught_up_ms in seen)
    return leader, epoch, {number: (newest - caught_up_ms) / 1000 for number, _, _, caught_up_ms in seen}


def settings_of(host, topic):
    """The settings of a topic."""
    body = struct.pack(">ib", 1, 2) + text(topic) + struct.pack(">ib", -1, 0)
    reader = ask(host, DESCRIBE_CONFIGS, 1, body)
    found = {}
    reader.take("i")
    for _ in range(reader.take("i")):
        error, told, _, _ = reader.take("h"), reader.text(), reader.take("b"), reader.text()
        if error:
            no(f"{host}: the settings of {topic} cannot be read: {told or f'error {error}'}")
        for _ in range(reader.take("i")):
            name, value = reader.text(), reader.text()
            reader.raw(3)
            reader.array(lambda: (reader.text(), reader.text(), reader.take("b")))
            found[name] = value
    return found


def coordinator(host):
    """The number of the broker that coordinates the group."""
    reader = ask(host, FIND_COORDINATOR, 1, text(GROUP) + b"\0")
    _, error, told, number = reader.take("i"), reader.take("h"), reader.text(), reader.take("i")
    if error:
        no(f"{host}: the group {GROUP} has no coordinator: {told or f'error {error}'}")
    return number


def elect(view):
    """Has the preferred leaders elected. With ZooKeeper only the controller does that, with KRaft any broker hands it on."""
    host, port = view.brokers.get(view.controller, (view.host, PORT))
    topics = {}
    for partition in view.partitions:
        topics.setdefault(partition.topic, []).append(partition.number)
    body = b"\0" + struct.pack(">i", len(topics))
    for topic, numbers in topics.items():
        body += text(topic) + struct.pack(f">i{len(numbers)}i", len(numbers), *numbers)
    ask(host, ELECT_LEADERS, 1, body + struct.pack(">i", 1000 * PATIENCE_S), port)


def whole():
    """Whether all is as it has to be before a failure, and after it; answers with the active controller."""
    if len(HOSTS) < 3:
        no(f"a Kafka of {len(HOSTS)} brokers can spare none")
    views = [View(host) for host in HOSTS]
    for view in views:
        for host in HOSTS:
            if view.number_of(host) is None:
                known = ", ".join(f"{number} {name}:{port}" for number, (name, port) in sorted(view.brokers.items()))
                no(f"{view.host}: this broker knows of none at {host}, but of {known}: KAFKA_IDS says who is who, if names differ")
        if len(view.brokers) != len(HOSTS):
            no(f"{view.host}: this broker knows {len(view.brokers)} brokers, and the book {len(HOSTS)}")
        for partition in view.partitions:
            seen = f"{view.host}: {partition}"
            if len(partition.replicas) < REPLICAS:
                no(f"{seen} has {len(partition.replicas)} replicas, wanted are {REPLICAS} (KAFKA_REPLICAS)")
            missing = sorted(set(partition.replicas) - set(partition.isr))
            if missing:
                no(f"{seen}: out of sync: {', '.join(map(str, missing))}")
            if partition.leader not in partition.isr:
                no(f"{seen} has no leader")
    begin = [name for name in (os.environ.get("KAFKA_BROKERS") or "").split(",") if name]
    if len(begin) == 1:
        no(f"clients begin at {begin[0]} alone (KAFKA_BROKERS): while it is lost, no client can start")
    for topic in (TOPIC, OFFSETS):
        settings = settings_of(HOSTS[0], topic)
        least = int(settings["min.insync.replicas"])
        if topic == TOPIC and least < 2:
            no(f"{topic} has min.insync.replicas={least}: what one broker alone has accepted is lost with it")
        if least >= REPLICAS:
            no(f"{topic} has min.insync.replicas={least} of {REPLICAS} replicas: it can spare none")
        if settings["unclean.leader.election.enable"] == "true":
            no(f"{topic} has unclean.leader.election.enable=true: a replica that lags may lead, and what it lacks is lost")
    for at, first in enumerate(views[0].partitions):
        for view in views[1:]:
            other = view.partitions[at]
            if (other.topic, other.number, other.leader) != (first.topic, first.number, first.leader):
                no(f"{first} is led by {first.leader} for {views[0].host}, and {other} by {other.leader} for {view.host}")
    of_topic = [partition for partition in views[0].partitions if partition.topic == TOPIC]
    preferred = {partition.replicas[0] for partition in of_topic}
    if len(of_topic) > 1 and len(preferred) == 1:
        no(f"all partitions of {TOPIC} prefer broker {preferred.pop()} for a leader")
    strangers = [partition for partition in of_topic if partition.leader != partition.replicas[0]]
    if strangers:
        elect(views[0])
        told = ", ".join(f"{partition} by {partition.leader} instead of {partition.replicas[0]}" for partition in strangers)
        no(f"not led as preferred: {told}; an election was asked for")
    active = quorum(HOSTS)
    if active is None:
        return views[0].controller, 0
    leader, epoch, voters = active
    if len(voters) < 3 or len(voters) % 2 == 0:
        no(f"there are {len(voters)} controllers that vote: they have to be an odd number, of three or more")
    for number, behind_s in sorted(voters.items()):
        if behind_s > CONTROLLER_BEHIND_S:
            no(f"controller {number} has not kept up for {behind_s:.0f} s")
    return leader, epoch


def noticed(question, before):
    """Whether the cluster has noticed what is broken now."""
    if question == "controller":
        active = quorum(OTHERS)
        leader, epoch = active[:2] if active else (View(OTHERS[0]).controller, before[1] + 1)
        if leader < 0 or leader == before[0] or epoch <= before[1]:
            no(f"the active controller is still {leader}, in epoch {epoch}")
        return f"the active controller was {before[0]}, and is {leader}"
    if question == "frozen":
        try:
            active = quorum(OTHERS or HOSTS)
        except NoController as error:
            return str(error)
        no(f"a controller is active: {active[0] if active else 'with ZooKeeper'}")
    views = [View(host) for host in OTHERS]
    for view in views:
        for target in TARGETS:
            number = number_before(view, target)
            for partition in view.partitions:
                is_in = number in partition.isr
                if question == "lags" and (partition.leader == number or partition.topic != TOPIC):
                    # Nobody is missed where nothing is written.
                    continue
                if question == "still-in" and not is_in:
                    no(f"{view.host}: {partition} has {target} out of sync")
                if question != "still-in" and is_in:
                    no(f"{view.host}: {partition} still has {target} in sync")
                if question == "out" and partition.leader not in partition.isr:
                    no(f"{view.host}: {partition} has no leader")
                if question == "alone" and len(partition.isr) > len(OTHERS):
                    no(f"{view.host}: {partition} still has {len(partition.isr)} in sync")
    said = {"out": "out of sync", "lags": "out of sync", "still-in": "still in sync", "alone": "out of sync"}[question]
    return f"{', '.join(TARGETS)}: {said} for {', '.join(OTHERS)}"


def number_before(view, host):
    """The number of a broker, which a Kafka that misses it does not list any more."""
    numbers = dict(line.split() for line in open(state("numbers")))
    return view.number_of(host) if host not in numbers else int(numbers[host])


def state(name):
    """A file in the working folder, which stays until the book is done."""
    return f".kafka-{os.environ['PISAURA_CASE']}-{name}-{sys.argv[1]}"


def check(question):
    step = os.environ["PISAURA_STEP"]
    if step != "2":
        leader, epoch = whole()
        view = View(HOSTS[0])
        with open(state("numbers"), "w") as file:
            file.writelines(f"{host} {view.number_of(host)}\n" for host in HOSTS)
        with open(state("controller"), "w") as file:
            file.write(f"{leader} {epoch}\n")
        return f"whole; the active controller is {leader}"
    with open(state("controller")) as file:
        before = tuple(map(int, file.read().split()))
    return noticed(question, before)


def own_number():
    """The number of this host's broker, by its own word."""
    folder = os.environ.get("KAFKA_DATA") or "/var/lib/kafka"
    with open(f"{folder}/meta.properties") as file:
        settings = dict(line.strip().split("=", 1) for line in file if "=" in line)
    return int(settings.get("node.id") or settings["broker.id"])


def controls():
    """Whether this host's controller is the active one: it says so itself, in its own record of the election."""
    import json

    folder = os.environ.get("KAFKA_CONTROLLER_DATA") or os.environ.get("KAFKA_DATA") or "/var/lib/kafka"
    file = f"{folder}/__cluster_metadata-0/quorum-state"
    if not os.path.exists(file):
        return first_view().controller == own_number(), "the controller is another broker"
    with open(f"{folder}/meta.properties") as settings:
        number = next(line.split("=", 1)[1].strip() for line in settings if line.startswith("node.id="))
    with open(file) as told:
        leader = json.load(told)["leaderId"]
    if leader < 0:
        no("no controller is active")
    return str(leader) == number, f"the active controller is {leader}"


def first_view():
    """What the first broker that answers sees."""
    told = []
    for host in HOSTS:
        try:
            # No group may have been there yet.
            return View(host, (TOPIC,))
        except No as error:
            told.append(str(error))
    raise No("; ".join(told))


def role(question):
    """Whether this host has that part, and what it has instead."""
    if question == "controls":
        return controls()
    view, own = first_view(), own_number()
    if question == "coordinates":
        number = coordinator(view.host)
        return number == own, f"broker {number} coordinates the group {GROUP}"
    partition = next(partition for partition in view.partitions if (partition.topic, partition.number) == (TOPIC, 0))
    if partition.leader < 0:
        no(f"{view.host}: {partition} has no leader")
    if question == "leads":
        return partition.leader == own, f"broker {partition.leader} leads {partition}"
    followers = [number for number in partition.replicas if number in partition.isr and number != partition.leader]
    if not followers:
        no(f"{view.host}: nobody follows the leader of {partition} in sync")
    return followers[0] == own, f"the first that follows the leader of {partition} is broker {followers[0]}"


ROLES = ("leads", "follows", "controls", "coordinates")
SIGNS = ("out", "lags", "still-in", "alone", "controller", "frozen")


def main():
    question = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        if question in ROLES:
            holds, told = role(question)
            print(f"this host {question}" if holds else told)
            return 0 if holds else 1
        if question in SIGNS:
            print(check(question))
            return 0
    except No as why:
        print(why, file=sys.stderr)
        # That nobody could be asked is not a no.
        return 2 if question in ROLES else 1
    except Exception:
        traceback.print_exc()
        return 2
    print(__doc__, file=sys.stderr)
    return 127


if __name__ == "__main__":
    sys.exit(main())
