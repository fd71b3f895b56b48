"""What each lab consists of: hosts, Debian's packages, the services' settings, when they can be used, and the variables
that the fatebook of the same name needs."""

import shutil
import subprocess

import bed

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

    def install(self):
        """Installs what this machine needs to ask the service."""
        needed = {"ip": "iproute2", "systemd-nspawn": "systemd-container", "ssh-keygen": "openssh-client", **self.clients}
        bed.install([package for program, package in needed.items() if not shutil.which(program, path=bed.PATH)])

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


SYSTEMS = {system.name: system for system in [Etcd()]}
