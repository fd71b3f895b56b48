"""Hosts of our own on one machine: each a Debian with systemd and sshd, in namespaces and with an address of its own.

A Lab is a network with its hosts. All that belongs to it lies in one folder, its state: `lab.json`, the keys, and a folder for
each host. Nothing that `up` does outlives `down`: what is mounted ends with the hosts, and what they change lies in memory.
Which lab has which network stands in REGISTRY, a file for each with the path of its state.
"""

import hashlib
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import bed
from bed import Trouble, alive, look_at, say, send

NETWORK = "10.213.{}.0/24"
REGISTRY = Path("/run/pisaura-lab")
PARTS = ["hosts", "identity", "identity.pub", "host_key", "host_key.pub", "known_hosts", "lab.json.new", "lab.json"]
READY_S = 90
POLL_S = 0.05
HOST_DISK_MIB = 3072
OWN_ADDRESS = 1
FIRST_HOST = 11

SSHD = """Port 22
HostKey /etc/ssh/lab_host_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthorizedKeysFile /etc/ssh/lab_identity.pub
StrictModes no
UsePAM no
UseDNS no
Subsystem sftp internal-sftp
"""
TARGET = """[Unit]
Description=a host of the lab
Requires=basic.target
After=basic.target
Wants=ssh.service {services}
AllowIsolate=yes
"""


def run(*command, **more):
    """Runs a command that has to succeed, and gives what it wrote."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    end = subprocess.run(command, **{**streams, **more})
    output = end.stdout.decode(errors="replace")
    if end.returncode:
        raise Trouble(f"{' '.join(map(str, command))}: {output[-3000:].strip() or f'exit status {end.returncode}'}")
    return output


def root():
    """Where the states lie, but those with a folder of the user's choice."""
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"pisaura-lab-{os.getuid()}"


def can_make_hosts():
    """Why this machine cannot have hosts, or None."""
    if os.getuid() != 0:
        return "only root can make network namespaces"
    if not cgroups():
        return "no cgroups are mounted that systemd could use"
    name = f"pisaura-lab-try-{os.getpid()}"
    if not bed.quietly(["ip", "netns", "add", name])[0]:
        return "this machine allows no network namespaces"
    bed.quietly(["ip", "netns", "del", name])
    return None


def cgroups():
    """Our own folder in each hierarchy that a systemd needs: the unified one, and with cgroups v1 the one of its name."""
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, folder, kind, options = line.split()[:4]
        if kind == "cgroup2" and "" in own:
            found.append(Path(folder + own[""]))
        elif kind == "cgroup" and "name=systemd" in options.split(",") and "name=systemd" in own:
            found.append(Path(folder + own["name=systemd"]))
    return found


# What the hosts have beside the machine's own system


BASE = ["systemd", "dbus", "libpam-systemd", "openssh-server", "iptables", "iproute2", "procps", "sudo"]


def cache():
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pisaura-lab"


def layer(packages):
    """A tar of what these packages of Debian's add to this machine's system, made once for each state of that. The machine
    itself does not get them, so none of their services ever runs there."""
    packages = sorted({*BASE, *packages})
    script = Path(__file__).resolve().parent / "layer"
    state = Path("/var/lib/dpkg/status").read_bytes() + script.read_bytes() + " ".join(packages).encode()
    target = cache() / f"{hashlib.sha256(state).hexdigest()[:16]}.tar"
    with bed.alone():
        cache().mkdir(parents=True, exist_ok=True)
        if not target.exists():
            # Only a few are kept: each belongs to what was installed when it was made.
            for old in sorted(cache().glob("*.tar"), key=lambda path: path.stat().st_mtime)[:-11]:
                old.unlink()
            say(f"preparing {', '.join(packages)}")
            new = target.with_suffix(".new")
            try:
                run("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", script, new, *packages,
                    env={**os.environ, "PATH": bed.PATH})
                new.rename(target)
            finally:
                new.unlink(missing_ok=True)
    os.utime(target)
    return target


class Host:
    """One host, as the lab's file says it."""

    def __init__(self, lab, name, address):
        self.lab, self.name, self.address = lab, name, address
        self.network = f"pisaura-lab-{lab.number}-{name}"
        self.folder = lab.folder / "hosts" / name

    def cgroups(self):
        return [folder / self.network for folder in self.lab.cgroups]

    def boot(self, files, disks, services, users=(), binds=None):
        """Starts the host. `files` are texts, or (text, owner, mode), by path; `disks` are file systems of their own, (owner,
        MiB) by path; `users` are made; `binds` are folders of this machine, and what they are in the host."""
        root = self.folder / "files"
        (self.folder / "disk").mkdir(parents=True)
        names = "".join(f"{host.address} {host.name}\n" for host in self.lab.hosts)
        files = {
            "/etc/hostname": f"{self.name}\n",
            "/etc/hosts": f"127.0.0.1 localhost\n{names}",
            "/etc/machine-id": f"{os.urandom(16).hex()}\n",
            "/etc/ssh/sshd_config": SSHD,
            "/etc/ssh/lab_host_key": ((self.lab.folder / "host_key").read_text(), "root", "600"),
            "/etc/ssh/lab_identity.pub": (self.lab.folder / "identity.pub").read_text(),
            "/etc/systemd/system/lab.target": TARGET.format(services=" ".join(services)),
            **files,
        }
        owners = []
        for path, content in files.items():
            text, owner, mode = content if isinstance(content, tuple) else (content, "root", "644")
            (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (root / path[1:]).write_text(text)
            owners.append(f"{owner} {mode} {path}\n")
        mounts = [f"{owner} {size_mib} {path}\n" for path, (owner, size_mib) in disks.items()]
        (self.folder / "disks").write_text("".join(mounts))
        (self.folder / "users").write_text("".join(f"{user}\n" for user in users))
        # A colon stands between the two.
        escaped = [(str(here).replace(":", "\\:"), there) for here, there in (binds or {}).items()]
        (self.folder / "binds").write_text("".join(f"{here}:{there}\n" for here, there in escaped))
        (self.folder / "owners").write_text("".join(owners))
        for folder in self.cgroups():
            folder.mkdir(exist_ok=True)
        script = Path(__file__).resolve().parent / "boot"
        command = ["unshare", "--mount", "--propagation", "private", script, self.folder, self.lab.layer, self.network,
                   self.name, str(HOST_DISK_MIB), *self.cgroups()]
        with open(self.folder / "console", "wb") as console:
            subprocess.Popen(
                command,
                stdin=self.lab.lock,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={"PATH": bed.PATH, "LC_ALL": "C.UTF-8"},
            )

    def process(self):
        """What has become the host, with the time of its start; None if there is nothing. It writes that down itself."""
        try:
            pid, start = (self.folder / "pid").read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid), int(start)

    def has_ended(self):
        process = self.process()
        return process is not None and not alive(process)

    def init(self):
        """The process 1 of the host, as it is seen from outside; None while there is none."""
        process = self.process()
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            seen = look_at(pid)
            if process and seen and seen[0] == process[0]:
                return pid
        return None

    def do(self, script, **more):
        """Runs shell text in the host, from outside, and gives what it wrote."""
        init = self.init()
        if not init:
            raise Trouble(f"{self.name} does not run: {self.told()}")
        return run("nsenter", "--target", str(init), "--all", "/bin/sh", "-ec", script, env={"PATH": bed.PATH}, **more)

    def told(self):
        """The end of what it has written while it started."""
        try:
            return (self.folder / "console").read_text(errors="replace")[-2000:].strip()
        except OSError as error:
            return str(error)

    def answers(self, port):
        """Whether somebody listens there."""
        try:
            socket.create_connection((self.address, port), timeout=1).close()
        except OSError:
            return False
        return True

    def end(self):
        """Ends all its processes, and takes away its place."""
        process = self.process()
        send(process, signal.SIGKILL)
        for _ in range(200):
            inside = {pid for folder in self.cgroups() for pid in processes_of(folder)}
            if not inside and not alive(process):
                break
            for pid in inside:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(POLL_S)
        for folder in self.cgroups():
            for inner, _, _ in os.walk(folder, topdown=False):
                # A cgroup is busy until the last of its processes is reaped.
                for _ in range(100):
                    try:
                        os.rmdir(inner)
                    except FileNotFoundError:
                        pass
                    except OSError:
                        time.sleep(POLL_S)
                        continue
                    break


def processes_of(cgroup):
    """The processes of a cgroup and of all below it."""
    found = []
    for folder, _, _ in os.walk(cgroup):
        try:
            found += map(int, (Path(folder) / "cgroup.procs").read_text().split())
        except OSError:
            pass
    return found


class Lab:
    """The hosts of one system, and the network between them and this machine."""

    def __init__(self, folder):
        self.folder = Path(os.path.realpath(folder))
        self.root = root().resolve()
        self.number, self.name, self.hosts, self.variables, self.cgroups = None, None, [], {}, []
        self.layer = None
        # What holds the folder, while `up` does: whatever works in it holds it too, so that `down` waits for that when `up` is killed.
        self.lock = None

    # The file

    def read(self):
        """What `up` has written down; False if there is nothing that could be read."""
        try:
            told = json.loads((self.folder / "lab.json").read_text())
        except (OSError, ValueError):
            return False
        self.number, self.name, self.variables = told["number"], told["name"], told["variables"]
        self.cgroups = [Path(folder) for folder in told["cgroups"]]
        self.hosts = [Host(self, host["name"], host["address"]) for host in told["hosts"]]
        return True

    def write(self):
        hosts = [{"name": host.name, "address": host.address} for host in self.hosts]
        told = {"number": self.number, "name": self.name, "cgroups": [str(folder) for folder in self.cgroups],
                "variables": self.variables, "hosts": hosts}
        (self.folder / "lab.json.new").write_text(json.dumps(told, indent=1) + "\n")
        (self.folder / "lab.json.new").rename(self.folder / "lab.json")

    def locked(self, create=False):
        """Keeps others off this lab; gives None if it is not there."""
        return bed.held(self.folder, self.create if create else None)

    def create(self):
        """Makes the folder. Anybody could have made one whose name is known beforehand."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for folder in [self.folder] + [self.root] * (self.root == self.folder.parent):
            if folder.lstat().st_uid != os.getuid():
                raise Trouble(f"{folder} belongs to somebody else")
        self.folder.chmod(0o755)

    # Up

    def up(self, system):
        """Starts all hosts of a system and waits until it can be used."""
        with self.locked(create=True) as self.lock:
            if any(self.folder.iterdir()):
                raise Trouble(f"{self.folder} is there already: `down` takes it away")
            try:
                self.name, self.cgroups = system.name, cgroups()
                self.write()
                self.claim_network()
                self.hosts = [Host(self, name, self.address(FIRST_HOST + at)) for at, name in enumerate(system.hosts)]
                self.write()
                self.make_network()
                self.make_keys()
                self.layer = layer(system.packages)
                with bed.alone():
                    binds = system.binds(cache())
                for host in self.hosts:
                    host.boot(system.files(self, host), system.disks(host), system.services(host), system.users, binds)
                end = time.monotonic() + READY_S
                self.wait(end, "ssh", lambda: all(host.answers(22) for host in self.hosts))
                system.prepare(self)
                self.wait(end, system.name, lambda: system.is_ready(self))
                self.variables = {
                    **system.variables(self),
                    "PISAURA_SSH_IDENTITY": str(self.folder / "identity"),
                    "PISAURA_SSH_KNOWN_HOSTS": str(self.folder / "known_hosts"),
                }
                self.write()
            except BaseException:
                with bed.undisturbed():
                    self.take_down()
                raise

    def wait(self, end, what, is_there):
        while not is_there():
            for host in self.hosts:
                if host.has_ended():
                    raise Trouble(f"the host {host.name} has ended: {host.told()}")
            if time.monotonic() > end:
                told = "\n".join(f"{host.name}: {self.failed(host)}" for host in self.hosts)
                raise Trouble(f"{what} is not ready after {READY_S} s\n{told}")
            time.sleep(POLL_S)

    def failed(self, host):
        """What a host's own log says."""
        try:
            return host.do("systemctl --failed --no-legend --no-pager; journalctl --no-pager --quiet -n 20")
        except Trouble as trouble:
            return str(trouble)

    def claim_network(self):
        """Takes a number that no other lab has, and whose addresses no other network of this machine has."""
        routes = json.loads(run("ip", "-j", "-4", "route", "show", "table", "all") or "[]")
        networks = [ipaddress.ip_network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]
        # A larger one, as a VPN may have it, gives way to ours.
        taken = [network for network in networks if network.prefixlen >= 16]
        for number in range(256):
            if any(ipaddress.ip_network(NETWORK.format(number)).overlaps(other) for other in taken):
                continue
            REGISTRY.mkdir(exist_ok=True)
            try:
                with open(REGISTRY / str(number), "x") as file:
                    self.number = number
                    file.write(f"{self.folder}\n")
                self.write()
                # One that is there without being registered is nobody's that we know: it is left alone.
                if bed.quietly(["ip", "netns", "add", f"pisaura-lab-{number}"], stdin=self.lock)[0]:
                    return
                (REGISTRY / str(number)).unlink()
                self.number = None
            except FileExistsError:
                continue
        raise Trouble(f"no network 10.213.N.0/24 is free: {REGISTRY} and `ip route` tell whose they are")

    def work(self, *command):
        """Runs a command that works in the folder or on the network."""
        run(*command, stdin=self.lock)

    def address(self, last):
        return str(ipaddress.ip_network(NETWORK.format(self.number))[last])

    def make_network(self):
        """A bridge in a network namespace of its own, where no other rules for packets are; this machine and each host are
        plugged into it."""
        switch, link = f"pisaura-lab-{self.number}", f"plab{self.number}"
        self.work("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
        self.work("ip", "-n", switch, "link", "set", "bridge", "up")
        plugs = [(None, link, self.address(OWN_ADDRESS))]
        plugs += [(host.network, "eth0", host.address) for host in self.hosts]
        for at, (network, name, address) in enumerate(plugs):
            inside = []
            if network:
                self.work("ip", "netns", "add", network)
                self.work("ip", "-n", network, "link", "set", "lo", "up")
                inside = ["-n", network]
            place = ["netns", network] if network else []
            self.work("ip", "-n", switch, "link", "add", f"plug{at}", "type", "veth", "peer", "name", name, *(
                place or ["netns", str(os.getpid())]))
            self.work("ip", "-n", switch, "link", "set", f"plug{at}", "master", "bridge", "up")
            self.work("ip", *inside, "addr", "add", f"{address}/24", "dev", name)
            self.work("ip", *inside, "link", "set", name, "up")

    def make_keys(self):
        for name in ["identity", "host_key"]:
            self.work("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "pisaura-lab", "-f", self.folder / name)
        key = (self.folder / "host_key.pub").read_text()
        (self.folder / "known_hosts").write_text("".join(f"{host.address} {key}" for host in self.hosts))

    # Down

    def down(self):
        """Takes away what `up` has made. Answers with whether there was anything."""
        with self.locked() as there:
            if not there:
                return False
            if not self.read():
                strange = sorted({path.name for path in self.folder.iterdir()} - {*PARTS})
                if strange:
                    raise Trouble(f"{self.folder} has files that were not made here: {', '.join(strange)}")
            with bed.undisturbed():
                self.take_down()
            return True

    def take_down(self):
        for host in self.hosts:
            host.end()
        for host in self.hosts:
            bed.quietly(["ip", "netns", "del", host.network])
        if self.number is not None:
            bed.quietly(["ip", "link", "del", f"plab{self.number}"])
            bed.quietly(["ip", "netns", "del", f"pisaura-lab-{self.number}"])
            (REGISTRY / str(self.number)).unlink(missing_ok=True)
        # What says how to take it down goes last.
        for part in PARTS:
            path = self.folder / part
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.folder.rmdir()
        for folder in [REGISTRY] + [self.root] * (self.root == self.folder.parent):
            try:
                folder.rmdir()
            except OSError:
                pass  # There are other labs.


def registered():
    """The states of all labs."""
    found = []
    for file in REGISTRY.iterdir() if REGISTRY.is_dir() else []:
        try:
            found.append(Path(file.read_text().rstrip("\n")))
        except OSError:
            pass
    return sorted(found)
