"""client.py: what health.py and workload.py share: where clients begin, and how they are set up. Needs confluent_kafka (Debian's
python3-confluent-kafka).

KAFKA_BROKERS (the book's hosts, port KAFKA_PORT) and KAFKA_CLIENT_CONFIG, a file of `name=value` lines of librdkafka's, say how to
reach a Kafka and to log in there."""
import os
import sys

sys.dont_write_bytecode = True
# The first Python of the path may not be the one that has the module.
try:
    import confluent_kafka
except ImportError:
    if sys.executable == "/usr/bin/python3" or not os.path.exists("/usr/bin/python3"):
        print("there is no confluent_kafka here (Debian: python3-confluent-kafka)", file=sys.stderr)
        sys.exit(127)
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

import cluster


def at(host):
    return f"[{host}]:{cluster.PORT}" if ":" in host else f"{host}:{cluster.PORT}"


def brokers(without=()):
    """Where clients begin: not at the broken hosts, so that the time until there is an answer is Kafka's and not the client's."""
    told = os.environ.get("KAFKA_BROKERS") or ",".join(map(at, cluster.HOSTS))
    kept = [broker for broker in told.split(",") if broker not in set(map(at, without))]
    return ",".join(kept or told.split(","))


def settings(**more):
    found = {"client.id": "pisaura", "log_level": 0, "error_cb": lambda error: None}
    file = os.environ.get("KAFKA_CLIENT_CONFIG")
    if file:
        with open(file) as lines:
            pairs = (line.strip().split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
            found.update((name.strip(), value.strip()) for name, value in pairs)
    # What is called back is no setting of librdkafka's.
    own = {name if name.endswith("_cb") else name.replace("_", "."): value for name, value in more.items()}
    return {**found, **own}


def partitions(client, patience_s):
    """The numbers of the topic's partitions, as this client is told."""
    topics = client.list_topics(cluster.TOPIC, timeout=patience_s).topics
    found = topics[cluster.TOPIC] if cluster.TOPIC in topics else None
    if not found or found.error or not found.partitions:
        raise confluent_kafka.KafkaException(f"the topic {cluster.TOPIC} is not there: {found.error if found else ''}")
    return sorted(found.partitions)
