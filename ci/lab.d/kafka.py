"""A Kafka of the lab: its jars, fetched once by Maven, and the settings of its two kinds: with controllers of its own (KRaft), and
with ZooKeeper, as the last versions before 4 could be run."""

import shutil
import subprocess
from pathlib import Path

import bed

HERE = Path(__file__).resolve().parent
FETCH = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
# Small servers that have to start quickly and do not have to live long.
JAVA = "-Xmx{mib}m -Xss256k -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData"
PARTITIONS = 3
TOPIC = "pisaura"

UNIT = """[Unit]
Description={what}
After=network.target
[Service]
User=kafka
{before}ExecStart=/usr/bin/java {java} -cp /opt/kafka/*:/etc/kafka {main} {settings}
# Connections are files.
LimitNOFILE={files}
SuccessExitStatus=143
Restart=on-failure
RestartSec=1s
"""
LOG4J2 = """Configuration:
  Appenders:
    Console: {name: console, PatternLayout: {pattern: "%p %m (%c{1})%n"}}
  Loggers:
    Root: {level: WARN, AppenderRef: {ref: console}}
    Logger: {name: kafka.server, level: INFO}
"""
LOG4J = """log4j.rootLogger=WARN, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%p %m (%c)%n
"""


def properties(settings):
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def jars(version, cache):
    """The folder with the jars of this version, fetched if it is not there. They are those of the list beside this file, and no
    others; Maven alone would only warn of another checksum."""
    target = cache / f"kafka-{version}"
    wanted = (HERE / f"kafka-{version}.sha256").read_text()
    if is_as_listed(target, wanted):
        return target
    new = target.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    bed.say(f"fetching Kafka {version}")
    order = ["mvn", "-q", "-B", "-C", "-f", str(HERE / f"kafka-{version}.pom"), FETCH,
             "-DincludeScope=runtime", f"-DoutputDirectory={new}"]
    done, told = bed.quietly(order)
    if not done:
        raise bed.Trouble(
            f"Kafka {version} cannot be fetched: Maven (`mvn`) has to reach a repository with org.apache.kafka:kafka_2.13:{version}. It says:\n{told}"
        )
    if not is_as_listed(new, wanted):
        raise bed.Trouble(f"what Maven has fetched to {new} is not what {HERE}/kafka-{version}.sha256 lists")
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)
    return target


def is_as_listed(folder, wanted):
    names = sorted(line.split("  ", 1)[1] for line in wanted.splitlines())
    if not folder.is_dir() or sorted(path.name for path in folder.iterdir()) != names:
        return False
    check = ["sha256sum", "--check", "--quiet", "--strict"]
    return subprocess.run(check, input=wanted.encode(), cwd=folder, capture_output=True).returncode == 0


# Partitions return to their preferred leaders at once instead of within 5 minutes.
PREFERRED_AT_ONCE = {"leader.imbalance.check.interval.seconds": 1, "leader.imbalance.per.broker.percentage": 0}
# A broker is missed after 3 s instead of 9 s, a controller after 1 s instead of 2 s.
SHORT_TIMEOUTS = {
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
    "replica.lag.time.max.ms": 3000,
    "controller.quorum.fetch.timeout.ms": 1000,
    "controller.quorum.election.timeout.ms": 500,
    **PREFERRED_AT_ONCE,
}
# A broker is missed after 3 s instead of 18 s.
SHORT_TIMEOUTS_WITH_ZOOKEEPER = {
    "replica.lag.time.max.ms": 3000,
    "zookeeper.session.timeout.ms": 3000,
    **PREFERRED_AT_ONCE,
}


def of_a_broker():
    """What brokers of both kinds have."""
    return {
        "log.dirs": "/srv/kafka",
        "num.partitions": PARTITIONS,
        "default.replication.factor": 3,
        "min.insync.replicas": 2,
        "auto.create.topics.enable": "false",
        # Fifty partitions take long to be made, and to be moved.
        "offsets.topic.num.partitions": PARTITIONS,
        "offsets.topic.replication.factor": 3,
        "transaction.state.log.num.partitions": PARTITIONS,
        "transaction.state.log.replication.factor": 3,
        "transaction.state.log.min.isr": 2,
        "group.initial.rebalance.delay.ms": 0,
        "log.segment.bytes": 16777216,
        "log.cleaner.dedupe.buffer.size": 4194304,
    }


def tool(host, main, *arguments):
    """Runs one of Kafka's own tools in a host."""
    return host.do(" ".join(["java", JAVA.format(mib=96), "-cp '/opt/kafka/*:/etc/kafka'", main, *arguments]))


def serves(client, brokers, port):
    """Whether a client sees so many brokers."""
    done, told = client("kcat", "-L", "-b", f"{brokers[0].address}:{port}", "-m", "3")
    return done and f" {len(brokers)} brokers:" in told


class Kafka:
    """What the two kinds have in common; systems.py makes systems of the lab of them."""

    packages = ["default-jre-headless", "kcat", "python3-minimal"]
    clients = {"mvn": "maven", "java": "default-jre-headless", "kcat": "kcat"}
    users = ["kafka"]
    version = ""
    # Kafka's own timeouts, instead of the short ones.
    own_timeouts = False
    short_timeouts = {}
    port = 9092

    def jars(self, cache):
        return jars(self.version, cache)

    def timeouts(self):
        return {} if self.own_timeouts else self.short_timeouts

    def unit(self, what, main, settings, mib, files, before=""):
        logging = "-Dlog4j2.configurationFile=/etc/kafka/log4j2.yaml" if self.version[0] == "4" else ""
        java = f"{JAVA.format(mib=mib)} {logging}".strip()
        return UNIT.format(what=what, main=main, settings=settings, java=java, files=files, before=before)

    def logging(self):
        return {"/etc/kafka/log4j2.yaml": LOG4J2} if self.version[0] == "4" else {"/etc/kafka/log4j.properties": LOG4J}

    def make_topic(self, lab):
        tool(lab.hosts[0], "org.apache.kafka.tools.TopicCommand", f"--bootstrap-server {lab.hosts[0].address}:{self.port}",
             f"--create --if-not-exists --topic {TOPIC}")
