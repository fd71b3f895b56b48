"""What each lab consists of: hosts, Debian's packages, the services' settings, when they can be used, and the variables
that the fatebook of the same name needs."""

import base64
import os
import shutil
import socket
import subprocess

import bed
import hosts
import kafka

# How long a client may be kept waiting by a service that is just starting.
CLIENT_S = 5


def client(*command):
    """Runs a client here, as a healthcheck would, and gives whether it succeeded, with what it wrote."""
    try:
        return bed.quietly(list(map(str, command)), timeout=CLIENT_S, env={"PATH": bed.PATH, "LC_ALL": "C.UTF-8"})
    except subprocess.TimeoutExpired:
        return False, f"no answer in {CLIENT_S} s"


class System:
    name = ""
    hosts = []
    packages = []  # of the hosts
    clients = {}  # programs that the healthcheck needs here, and the packages that have them
    modules = {}  # modules of the system's own Python that it needs, and the packages that have them
    users = []  # that no package makes

    def install(self):
        """Installs what this machine needs to ask the service."""
        needed = {"ip": "iproute2", "systemd-nspawn": "systemd-container", "ssh-keygen": "openssh-client", **self.clients}
        missing = [package for program, package in needed.items() if not shutil.which(program, path=bed.PATH)]
        missing += [package for module, package in self.modules.items() if not has_module(module)]
        bed.install(missing)
        note_installed(missing)

    def fetch(self, cache):
        """Gets what no package has into the lab's cache."""

    def binds(self, cache):
        """Folders of this machine that hosts see, read-only: what they are there, by where they lie here."""
        return {}

    def files(self, lab, host):
        """Texts, or (text, owner, mode), by path."""
        return {}

    def disks(self, host):
        """File systems of their own, (owner, MiB), by path."""
        return {}

    def services(self, host):
        """The units that a host starts."""
        return []

    def prepare(self, lab):
        """What can only be done when the hosts run."""

    def is_ready(self, lab):
        """Whether the service can be used."""
        raise NotImplementedError

    def variables(self, lab):
        """What the book needs."""
        raise NotImplementedError


def installed():
    """Where the packages stand that labs have installed on this machine, a line each."""
    return hosts.cache() / "packages"


def note_installed(packages):
    """Writes down what was installed, so that it can be taken away."""
    if packages:
        known = installed().read_text().split() if installed().exists() else []
        hosts.cache().mkdir(parents=True, exist_ok=True)
        installed().write_text("".join(f"{package}\n" for package in sorted({*known, *packages})))


def has_module(name):
    """Whether the Python of Debian's packages has it; the first of the path may be another one."""
    return bed.quietly(["/usr/bin/python3", "-c", f"import {name}"])[0]


def logins(hosts):
    return ",".join(f"root@{host.address}" for host in hosts)


class Etcd(System):
    name = "etcd"
    hosts = ["etcd-1", "etcd-2", "etcd-3"]
    packages = ["etcd-server", "etcd-client"]
    clients = {"etcdctl": "etcd-client"}

    def files(self, lab, host):
        own = f"http://{host.address}"
        settings = {
            "ETCD_NAME": host.name,
            "ETCD_INITIAL_CLUSTER": ",".join(f"{other.name}=http://{other.address}:2380" for other in lab.hosts),
            "ETCD_INITIAL_CLUSTER_STATE": "new",
            "ETCD_INITIAL_CLUSTER_TOKEN": f"lab-{lab.number}",
            "ETCD_INITIAL_ADVERTISE_PEER_URLS": f"{own}:2380",
            "ETCD_LISTEN_PEER_URLS": f"{own}:2380",
            "ETCD_LISTEN_CLIENT_URLS": f"{own}:2379,http://127.0.0.1:2379",
            "ETCD_ADVERTISE_CLIENT_URLS": f"{own}:2379",
        }
        return {"/etc/default/etcd": "".join(f"{name}={value}\n" for name, value in settings.items())}

    def disks(self, host):
        # Two segments of its log are 128 MiB.
        return {"/var/lib/etcd": ("etcd", 200)}

    def services(self, host):
        return ["etcd.service"]

    def is_ready(self, lab):
        endpoints = ",".join(f"{host.address}:2379" for host in lab.hosts)
        return client("env", "ETCDCTL_API=3", "etcdctl", "--endpoints", endpoints, "endpoint", "health")[0]

    def variables(self, lab):
        return {"ETCD_HOSTS": logins(lab.hosts)}


class Redis(System):
    name = "redis"
    hosts = ["redis-1", "redis-2", "redis-3"]
    packages = ["redis-server", "redis-sentinel"]
    clients = {"redis-cli": "redis-tools"}

    def files(self, lab, host):
        primary = lab.hosts[0].address
        server = ["bind 0.0.0.0", "protected-mode no", "dir /var/lib/redis", "appendonly yes", "repl-timeout 10", "min-replicas-to-write 1", "min-replicas-max-lag 3"]
        if host.address != primary:
            server.append(f"replicaof {primary} 6379")
        sentinel = [
            "bind 0.0.0.0",
            "protected-mode no",
            "dir /var/lib/redis",
            f"sentinel monitor main {primary} 6379 2",
            "sentinel down-after-milliseconds main 1500",
            "sentinel failover-timeout main 4000",
        ]
        # Both write their own files anew.
        settings = {
            f"/etc/redis/{name}.conf": ("".join(f"{line}\n" for line in lines), "redis:redis", "640")
            for name, lines in [("redis", server), ("sentinel", sentinel)]
        }
        # A sentinel that was kept waiting for two seconds decides nothing for the next thirty (TILT).
        return {**settings, "/etc/systemd/system/redis-sentinel.service.d/lab.conf": "[Service]\nNice=-15\n"}

    def services(self, host):
        return ["redis-server.service", "redis-sentinel.service"]

    def is_ready(self, lab):
        def says(host, port, command, text):
            return text in client("redis-cli", "-h", host.address, "-p", port, *command)[1]

        # One that is connected may still be given a copy; what is written is not confirmed by it.
        return says(lab.hosts[0], 6379, ["info", "replication"], "min_slaves_good_slaves:2") and all(
            # A sentinel that has not heard of the replicas yet would have nobody to promote.
            says(host, 26379, ["info", "sentinel"], f"status=ok,address={lab.hosts[0].address}:6379,slaves=2,sentinels=3")
            for host in lab.hosts
        )

    def variables(self, lab):
        return {"REDIS_HOSTS": logins(lab.hosts), "REDIS_MASTER_NAME": "main"}


HAPROXY = """global
    stats socket /run/haproxy/admin.sock mode 660
defaults
    mode http
    timeout client 10s
    timeout connect 500ms
    timeout server 2s
    timeout check 500ms
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response response-timeout
frontend web
    bind :80
    default_backend web
backend web
    balance roundrobin
    option httpchk GET /
    http-response set-header X-Backend %s
    default-server check inter 300ms fall 2 rise 2
{servers}"""


class Nginx(System):
    name = "nginx"
    hosts = ["web-1", "web-2", "balancer"]
    packages = ["nginx-light", "haproxy"]
    clients = {"curl": "curl"}

    def files(self, lab, host):
        if host.name == "balancer":
            servers = "".join(f"    server {web.name} {web.address}:80\n" for web in lab.hosts[:2])
            return {"/etc/haproxy/haproxy.cfg": HAPROXY.format(servers=servers)}
        return {"/var/www/html/index.html": "a page of the lab\n" * 4000}

    def services(self, host):
        return ["haproxy.service" if host.name == "balancer" else "nginx.service"]

    def is_ready(self, lab):
        answers = "".join(client("curl", "-sI", f"http://{lab.hosts[2].address}/")[1] for _ in range(4))
        return all(web.name in answers for web in lab.hosts[:2])

    def variables(self, lab):
        return {"NGINX_HOSTS": logins(lab.hosts[:2]), "NGINX_URL": f"http://{lab.hosts[2].address}/"}


ZOOKEEPER = """[Unit]
Description=ZooKeeper
After=network.target
[Service]
User=zookeeper
ExecStart=/usr/bin/java {java} -cp /etc/zookeeper/conf:/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar \\
    org.apache.zookeeper.server.quorum.QuorumPeerMain /etc/zookeeper/conf/zoo.cfg
SuccessExitStatus=143
Restart=on-failure
"""


class Zookeeper(System):
    name = "zookeeper"
    hosts = ["zoo-1", "zoo-2", "zoo-3"]
    packages = ["zookeeper", "default-jre-headless", "libslf4j-java"]
    clients = {"java": "default-jre-headless", "/usr/share/zookeeper/bin/zkCli.sh": "zookeeper"}

    def files(self, lab, host):
        settings = {
            "tickTime": 500,
            "initLimit": 10,
            "syncLimit": 4,
            "dataDir": "/var/lib/zookeeper",
            "dataLogDir": "/srv/zookeeper",
            "clientPort": 2181,
            "admin.enableServer": "false",
            **{f"server.{at}": f"{other.address}:2888:3888" for at, other in enumerate(lab.hosts, 1)},
        }
        # A small server that has to start quickly and does not have to live long.
        java = "-Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dzookeeper.preAllocSize=1024"
        return {
            "/etc/zookeeper/conf_example/zoo.cfg": "".join(f"{name}={value}\n" for name, value in settings.items()),
            "/var/lib/zookeeper/myid": f"{lab.hosts.index(host) + 1}\n",
            "/etc/systemd/system/zookeeper.service": ZOOKEEPER.format(java=java),
        }

    def disks(self, host):
        return {"/srv/zookeeper": ("zookeeper", 32)}

    def services(self, host):
        return ["zookeeper.service"]

    def prepare(self, lab):
        for host in lab.hosts:
            host.do("chown zookeeper /var/lib/zookeeper")

    def is_ready(self, lab):
        return all("Mode: " in asked(host.address, 2181, b"srvr") for host in lab.hosts)

    def variables(self, lab):
        return {"ZOOKEEPER_HOSTS": logins(lab.hosts), "ZOOKEEPER_LOG_DATA": "/srv/zookeeper"}


POSTGRESQL = """listen_addresses = '*'
max_connections = 20
min_wal_size = 32MB
max_wal_size = 48MB
wal_keep_size = 16MB
shared_buffers = 16MB
wal_receiver_timeout = 3s
wal_sender_timeout = 3s
"""


class Postgresql(System):
    name = "postgresql"
    hosts = ["postgres-1", "postgres-2"]
    packages = ["postgresql"]
    clients = {"psql": "postgresql-client"}
    password = "of-the-lab"

    def disks(self, host):
        return {"/var/lib/postgresql": ("postgres", 256)}

    def prepare(self, lab):
        primary, standby = lab.hosts
        version = primary.do("ls /usr/lib/postgresql | sort -n | tail -n 1").strip()
        self.unit = f"postgresql@{version}-main"
        data = f"/var/lib/postgresql/{version}/main"
        create = f"""
            pg_createcluster {version} main >/dev/null
            settings=/etc/postgresql/{version}/main
            printf '%s' "{POSTGRESQL}" >>$settings/postgresql.conf
            echo 'host all,replication all {lab.address(0)}/24 scram-sha-256' >>$settings/pg_hba.conf
            systemctl daemon-reload
        """
        start = f"systemctl start {self.unit}"
        roles = f"create role pisaura login replication in role pg_monitor password '{self.password}'"
        primary.do(f"""{create}
            {start}
            runuser -u postgres -- psql -qc "{roles}" -c 'create database pisaura owner pisaura'
        """)
        standby.do(f"""{create}
            rm -rf {data}
            export PGPASSWORD={self.password}
            runuser -u postgres -- pg_basebackup -h {primary.address} -U pisaura -D {data} --checkpoint=fast --write-recovery-conf
            {start}
        """)

    def is_ready(self, lab):
        ask = "select count(*) from pg_stat_replication where state = 'streaming'"
        return client("env", *self.settings(lab), "psql", "-tAc", ask)[1] == "1"

    def settings(self, lab):
        return [f"PGHOST={lab.hosts[0].address}", "PGUSER=pisaura", f"PGPASSWORD={self.password}", "PGDATABASE=pisaura"]

    def variables(self, lab):
        return {
            "POSTGRESQL_HOSTS": logins(lab.hosts),
            "POSTGRESQL_UNIT": self.unit,
            "POSTGRESQL_PASSWORD": self.password,
        }


class KafkaSystem(kafka.Kafka, System):
    """What both kinds of Kafka have as systems of the lab."""

    hosts = ["kafka-1", "kafka-2", "kafka-3"]
    modules = {"confluent_kafka": "python3-confluent-kafka"}

    def fetch(self, cache):
        self.jars(cache)

    def binds(self, cache):
        return {self.jars(cache): "/opt/kafka"}

    def is_ready(self, lab):
        if not kafka.serves(client, lab.hosts, self.port):
            return False
        self.make_topic(lab)
        return True


class KafkaRaft(KafkaSystem):
    """Three brokers and, on the same hosts, three controllers of their own."""

    name = "kafka"
    version = "4.1.1"
    short_timeouts = kafka.SHORT_TIMEOUTS

    def files(self, lab, host):
        number = lab.hosts.index(host) + 1
        if number == 1:
            self.cluster = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
        voters = ",".join(f"{100 + at}@{other.address}:9093" for at, other in enumerate(lab.hosts, 1))
        both = {
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            **kafka.of_a_broker(),
            **self.timeouts(),
        }
        broker = {**both, "process.roles": "broker", "node.id": number, "listeners": f"PLAINTEXT://{host.address}:{self.port}"}
        controller = {
            **both,
            "process.roles": "controller",
            "node.id": 100 + number,
            "listeners": f"CONTROLLER://{host.address}:9093",
            "log.dirs": "/srv/controller",
        }
        files = self.logging()
        for name, settings, mib in [("kafka", broker, 192), ("kafka-controller", controller, 128)]:
            file, disk = f"/etc/kafka/{name}.properties", settings["log.dirs"]
            files[file] = kafka.properties(settings)
            format_disk = f"java {kafka.JAVA.format(mib=64)} -cp '/opt/kafka/*' kafka.tools.StorageTool format -t {self.cluster} -c {file}"
            before = f'ExecStartPre=/bin/sh -c "[ -e {disk}/meta.properties ] || exec {format_disk}"\n'
            files[f"/etc/systemd/system/{name}.service"] = self.unit(name, "kafka.Kafka", file, mib, 400, before)
        return files

    def disks(self, host):
        return {"/srv/kafka": ("kafka", 512), "/srv/controller": ("kafka", 64)}

    def services(self, host):
        return ["kafka-controller.service", "kafka.service"]

    def variables(self, lab):
        return {"KAFKA_HOSTS": logins(lab.hosts), "KAFKA_DATA": "/srv/kafka", "KAFKA_CONTROLLER_DATA": "/srv/controller"}


class KafkaZookeeper(KafkaSystem):
    """The last Kafka with ZooKeeper, as the example of 2016 means it. A broker knows only the ZooKeepers of the other hosts: of the one
    beside it, it could not be cut off."""

    name = "kafka-zookeeper"
    version = "3.9.2"
    short_timeouts = kafka.SHORT_TIMEOUTS_WITH_ZOOKEEPER

    def files(self, lab, host):
        number = lab.hosts.index(host) + 1
        zookeepers = [f"{other.address}:2181" for other in lab.hosts if other is not host]
        broker = {
            **kafka.of_a_broker(),
            **self.timeouts(),
            "broker.id": number,
            "listeners": f"PLAINTEXT://{host.address}:{self.port}",
            "zookeeper.connect": ",".join(zookeepers),
        }
        zookeeper = {
            "tickTime": 500,
            "initLimit": 10,
            "syncLimit": 4,
            "dataDir": "/srv/zookeeper",
            "clientPort": 2181,
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "srvr",
            **{f"server.{at}": f"{other.address}:2888:3888" for at, other in enumerate(lab.hosts, 1)},
        }
        return {
            **self.logging(),
            "/etc/kafka/kafka.properties": kafka.properties(broker),
            "/etc/kafka/zookeeper.properties": kafka.properties(zookeeper),
            "/etc/systemd/system/kafka.service": self.unit("kafka", "kafka.Kafka", "/etc/kafka/kafka.properties", 192, 400),
            "/etc/systemd/system/zookeeper.service": self.unit(
                "zookeeper",
                "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                "/etc/kafka/zookeeper.properties",
                96,
                400,
                f"ExecStartPre=/bin/sh -c 'echo {number} >/srv/zookeeper/myid'\n",
            ),
        }

    def disks(self, host):
        return {"/srv/kafka": ("kafka", 512), "/srv/zookeeper": ("kafka", 64)}

    def services(self, host):
        return ["zookeeper.service", "kafka.service"]

    def variables(self, lab):
        return {"KAFKA_ZOOKEEPER_HOSTS": logins(lab.hosts), "KAFKA_PORT": str(self.port), "KAFKA_DATA": "/srv/kafka"}


def asked(address, port, question):
    """What a server answers to a question on a connection of its own."""
    try:
        with socket.create_connection((address, port), timeout=CLIENT_S) as connection:
            connection.sendall(question)
            return connection.makefile("rb").read().decode(errors="replace")
    except OSError as error:
        return str(error)


SYSTEMS = {system.name: system for system in [Etcd(), KafkaRaft(), KafkaZookeeper(), Nginx(), Postgresql(), Redis(), Zookeeper()]}
