"""What ci/mesos and ci/zookeeper have in common: a server on 127.0.0.1 that runs in the background for tests.

A Bed says what is needed, what to start and when it is ready; main() makes of it the commands up, down, run and
prepare. All that belongs to one server lies in one folder, its state: `pid`, `log`, `settings`, and in `work` the
server's own files.
"""

import argparse
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
READY_S = 60
STOP_S = 10
POLL_S = 0.02
SIGNALS = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
PARTS = ["work", "log", "settings", "pid"]
# Below the ports that the kernel gives to outgoing connections, so that none of these takes a port between two runs.
PORTS = range(10000, 30000)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Trouble(Exception):
    """A failure that the user is told about in one message."""


class Taken(Trouble):
    """Another program holds the port."""


class Bed:
    """One kind of server; ci/mesos and ci/zookeeper fill in the rest."""

    name = ""  # of the folder with the states
    variable = ""  # tells the command of `run` where the server listens

    def prepare(self):
        """Installs, downloads and builds what is missing."""

    def add_options(self, parser):
        """Adds what `up` takes besides --port, --state and --keep."""

    def settings(self, options, last):
        """What the server shall run with, given the settings of the last run (or {})."""
        return {}

    def command(self, settings, work):
        """The program to start with its arguments, and its whole environment."""
        raise NotImplementedError

    def waits_for(self, settings, work):
        """What is still missing until the server can be used, or None."""
        raise NotImplementedError

    def owns(self, variable, value, work):
        """Whether a process with this variable in its environment belongs to the server that works in this folder."""
        return False


def say(text):
    print(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr, flush=True)


# What is needed


def cache():
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pisaura-mesos"


@contextmanager
def alone():
    """Lets one process at a time install, download and build."""
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(packages):
    """Installs Debian's packages of these names."""
    if not packages:
        return
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        raise Trouble(f"missing, and there is no apt-get to install them: {names}")
    as_root = [] if os.getuid() == 0 else ["sudo", "-n"]
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qy", "-o", "DPkg::Lock::Timeout=120"]
    order = [*apt, "install", "--no-install-recommends", *packages]
    say(f"installing {names}")
    # The lists of packages may be missing or old: only then are they fetched.
    if not quietly(order)[0]:
        quietly([*apt, "update"])
        done, output = quietly(order)
        if not done:
            raise Trouble(f"cannot install {names}:\n{output}")


def quietly(command, **more):
    """Runs a command and gives whether it succeeded, with the end of what it wrote."""
    try:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        end = subprocess.run(command, **{**streams, **more})
    except OSError as error:
        return False, str(error)
    return end.returncode == 0, end.stdout.decode(errors="replace")[-3000:].rstrip()


# Processes


def look_at(pid):
    """A process's parent and the time of its start, which with its pid makes it unique; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else (int(fields[1]), int(fields[19]))


def alive(process):
    seen = process and look_at(process[0])
    return bool(seen) and seen[1] == process[1]


def send(process, number):
    if alive(process):
        try:
            os.kill(process[0], number)
        except ProcessLookupError:
            pass


@contextmanager
def undisturbed():
    """Lets signals wait, and gives the mask that has to be restored in whatever is started meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [*SIGNALS, signal.SIGCHLD])
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def gone(process, seconds):
    """Waits for the end of a process."""
    end = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


def family(bed, work, server):
    """What the server has started: its descendants and the processes that carry its marks, with their own descendants.

    The server itself is not in it, nor is what called this program.
    """
    seen, found = {}, set()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        process = look_at(pid)
        if not process:
            continue
        seen[pid] = process
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        pairs = (os.fsdecode(variable).partition("=") for variable in variables)
        if any(bed.owns(name, value, work) for name, _, value in pairs):
            found.add(pid)
    if alive(server):
        found.add(server[0])
    more = found
    while more:
        more = {pid for pid, (parent, _) in seen.items() if parent in more} - found
        found |= more
    pid = os.getpid()
    while pid in seen:
        found.discard(pid)
        pid = seen[pid][0]
    return {(pid, seen[pid][1]) for pid in found if pid in seen} - {server}


def end_family(bed, work, processes):
    """Ends these processes and whatever they start meanwhile."""
    for _ in range(20):
        processes = {process for process in processes if alive(process)}
        if not processes:
            return
        for process in processes:
            send(process, signal.SIGKILL)
        for process in processes:
            gone(process, 2)
        processes |= family(bed, work, None)
    raise Trouble(f"processes do not end: {sorted(pid for pid, _ in processes)}")


@contextmanager
def held(folder, create):
    """Holds a folder against others, and gives what holds it, or None if it is not there; `create`, if there is one, makes it.

    A child that has it as its standard input goes on to hold the folder when this program is killed.
    """
    while True:
        try:
            if create:
                create()
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            if create:
                continue
            yield None
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Who held it before may have removed the folder.
            if folder.exists() and os.path.samestat(os.fstat(lock), os.stat(folder)):
                yield lock
                return
        finally:
            os.close(lock)


# The state of one server


class State:
    def __init__(self, bed, folder):
        self.root = root(bed)
        self.folder = Path(os.path.realpath(folder))
        self.work = self.folder / "work"
        self.log = self.folder / "log"

    def locked(self, create=False):
        """Holds the folder against others; without `create` it may be missing."""
        return held(self.folder, self.create if create else None)

    def create(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        # Anybody could have made the folder for all states, whose name is known beforehand.
        for folder in [self.folder] + [self.root] * (self.root.resolve() == self.folder.parent):
            if folder.lstat().st_uid != os.getuid():
                raise Trouble(f"{folder} belongs to somebody else")
        if self.settings() is None and any(self.folder.iterdir()):
            raise Trouble(f"{self.folder} has files that were not made here")
        self.folder.chmod(0o755)

    def remove(self):
        """Removes what was made here, and nothing else."""
        for part in PARTS:
            path = self.folder / part
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.folder.rmdir()
        if self.folder.parent == self.root.resolve():
            try:
                self.folder.parent.rmdir()
            except OSError:
                pass  # There are other servers.

    def settings(self):
        """What the last run was given; None if there was none."""
        try:
            settings = json.loads((self.folder / "settings").read_text())
        except (OSError, ValueError):
            return None
        return settings if isinstance(settings, dict) and "port" in settings else None

    def server(self):
        """The server's process, or None."""
        try:
            pid, start = (self.folder / "pid").read_text().split()
        except (OSError, ValueError):
            return None
        process = int(pid), int(start)
        return process if alive(process) else None

    def trouble(self):
        """What the log says about a failure: the lines of errors, or else the last ones."""
        lines = self.log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if line[:2] in ("E1", "F1", "E0", "F0") or "rror" in line or "EXIT" in line]
        return "\n".join(line[:400] for line in (errors or lines)[-8:])


def root(bed):
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"{bed.name}-{os.getuid()}"


def states(bed):
    """The folders of all servers, but those with a folder of the user's choice."""
    folder = root(bed)
    return sorted(path for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []


def chosen(bed, options):
    """The state that the options name; if they name none, the only one there is, or None if there is none."""
    if options.state:
        return State(bed, options.state)
    if options.port:
        return State(bed, root(bed) / str(options.port))
    known = states(bed)
    if len(known) > 1:
        raise Trouble(f"which one? --port or --state tells: {', '.join(path.name for path in known)}")
    return State(bed, known[0]) if known else None


# The commands


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def up(bed, options):
    """Starts a server and gives its state and port."""
    bed.prepare()
    if options.keep:
        state = chosen(bed, options)
        if not state:
            raise Trouble("there is nothing to keep")
        with state.locked():
            last = state.settings()
            if last is None:
                raise Trouble(f"there is nothing to keep in {state.folder}")
            if options.port not in (None, last["port"]):
                raise Trouble(f"the files in {state.folder} belong to port {last['port']}")
            start(bed, state, {**bed.settings(options, last), "port": last["port"]})
            return state, last["port"]
    settings = bed.settings(options, {})
    if options.port:
        state = chosen(bed, options)
        with state.locked(create=True):
            start_afresh(bed, state, {**settings, "port": options.port})
        return state, options.port
    for _ in range(50):
        port = random.choice(PORTS)
        if not is_free(port) or not options.state and (root(bed) / str(port)).exists():
            continue
        state = State(bed, options.state or root(bed) / str(port))
        with state.locked(create=True):
            # Another run may have chosen the same port at the same moment.
            if not options.state and state.settings() is not None:
                continue
            try:
                start_afresh(bed, state, {**settings, "port": port})
            except Taken:
                continue
        return state, port
    raise Trouble("no free port was found")


def start_afresh(bed, state, settings):
    """Starts a server without the files of an earlier one; nothing stays behind if that fails."""
    running(state)
    end_family(bed, state.work, family(bed, state.work, None))
    if state.work.exists():
        shutil.rmtree(state.work)
    try:
        start(bed, state, settings)
    except BaseException:
        end_family(bed, state.work, family(bed, state.work, None))
        state.remove()
        raise


def running(state):
    server = state.server()
    if server:
        raise Trouble(f"it runs already: pid {server[0]} on port {state.settings()['port']}, {state.folder}")


def start(bed, state, settings):
    running(state)
    (state.folder / "settings").write_text(json.dumps(settings, indent=1) + "\n")
    port = settings["port"]
    if not is_free(port):
        raise Taken(f"another program holds port {port}")
    state.work.mkdir(exist_ok=True)
    command, environment = bed.command(settings, state.work)

    def detach(mask):
        # The process itself writes its pid before it turns into the server, so no server is without one.
        for number in [*SIGNALS, signal.SIGQUIT]:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        (state.folder / "pid").write_text(f"{os.getpid()} {look_at(os.getpid())[1]}\n")

    try:
        with undisturbed() as mask, open(state.log, "wb") as log:
            # A session of its own: neither the caller's terminal nor its files are held, and no Ctrl-C there ends it.
            child = subprocess.Popen(
                list(map(str, command)),
                env=environment,
                cwd=state.work,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: detach(mask),
            )
        end = time.monotonic() + READY_S
        while True:
            missing = bed.waits_for(settings, state.work)
            if child.poll() is not None:
                failure = Taken if "in use" in state.trouble() else Trouble
                raise failure(f"the server has ended, its log says:\n{state.trouble()}")
            if not missing:
                break
            if time.monotonic() > end:
                raise Trouble(f"not ready after {READY_S} s: {missing}\n{state.trouble()}")
            time.sleep(POLL_S)
    except BaseException:
        stop(state)
        raise
    say(f"pid {child.pid}, files in {state.folder}")


def stop(state):
    server = state.server()
    send(server, signal.SIGTERM)
    if not gone(server, STOP_S):
        send(server, signal.SIGKILL)
        if not gone(server, STOP_S):
            raise Trouble(f"pid {server[0]} does not end")
    (state.folder / "pid").unlink(missing_ok=True)


def down(bed, state, crash=False):
    with state.locked():
        if state.settings() is None:
            if crash:
                raise Trouble(f"nothing runs in {state.folder}")
            say(f"nothing was started in {state.folder}")
            return
        server = state.server()
        if crash:
            if not server:
                raise Trouble(f"nothing runs in {state.folder}")
            send(server, signal.SIGKILL)
            gone(server, STOP_S)
            return
        # Once the server has ended, children of its children could no longer be told from others.
        left = family(bed, state.work, server)
        stop(state)
        end_family(bed, state.work, left | family(bed, state.work, None))
        state.remove()


def run(bed, options, command, umask):
    """Runs a command beside a server of its own and gives the exit status."""
    state, port = up(bed, options)
    return accompany(command, {bed.variable: f"{HOST}:{port}"}, lambda: down(bed, state), umask)


def accompany(command, variables, take_down, umask=-1):
    """Runs a command with these variables, takes down what it was run beside, and gives the exit status."""
    # From here on signals wait until they are asked for, so the server is taken down whatever comes.
    with undisturbed() as mask:
        try:
            child = subprocess.Popen(
                command,
                env={**os.environ, **variables},
                close_fds=False,
                umask=umask,
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, mask),
            )
            while child.poll() is None:
                received = signal.sigwaitinfo([*SIGNALS, signal.SIGCHLD])
                # What the terminal sends (a Ctrl-C) reaches the command by itself; what a process sends is passed on.
                if received.si_signo != signal.SIGCHLD and received.si_code <= 0:
                    child.send_signal(received.si_signo)
            return child.returncode if child.returncode >= 0 else 128 - child.returncode
        except OSError as error:
            say(f"cannot run {command[0]}: {error.strerror}")
            return 127 if isinstance(error, FileNotFoundError) else 126
        finally:
            take_down()


def port_number(text):
    number = int(text)
    if not 0 < number < 65536:
        raise ValueError
    return number


def main(bed, text):
    """Does what the command line asks for; `text` is the help."""
    umask = os.umask(0o022)  # Tasks of other users have to reach their sandboxes.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in SIGNALS:
        signal.signal(number, lambda number, _: sys.exit(128 + number))

    arguments, command = sys.argv[1:], None
    if arguments[:1] == ["run"] and "--" in arguments:
        at = arguments.index("--")
        arguments, command = arguments[:at], arguments[at + 1 :]
    if {"-h", "--help"} & set(arguments):
        print(text.strip())
        return
    if not arguments:
        sys.exit(text.strip())

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, usage=f"see {Path(sys.argv[0]).name} --help")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ["up", "down", "prepare", "run"]:
        sub = commands.add_parser(name, add_help=False, allow_abbrev=False, prog=parser.prog, usage=parser.usage)
        if name != "prepare":
            sub.add_argument("--port", type=port_number)
            sub.add_argument("--state")
        if name == "down":
            sub.add_argument("--crash", action="store_true")
        if name in ("up", "run"):
            sub.add_argument("--keep", action="store_true")
            bed.add_options(sub)
    options = parser.parse_args(arguments)
    if options.command == "run" and not command:
        parser.error("run needs -- and a command")

    try:
        if options.command == "prepare":
            bed.prepare()
        elif options.command == "up":
            _, port = up(bed, options)
            print(f"{HOST}:{port}")
        elif options.command == "down":
            state = chosen(bed, options)
            if state:
                down(bed, state, options.crash)
            else:
                say("nothing was started")
        else:
            sys.exit(run(bed, options, command, umask))
    except (Trouble, OSError) as error:
        say(error)
        sys.exit(1)
