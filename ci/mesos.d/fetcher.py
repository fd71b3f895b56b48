#!/usr/bin/python3 -IS
"""mesos-fetcher: an agent runs it to bring the URIs of a container's command into the container's sandbox.

MESOS_FETCHER_INFO tells in JSON what to do. The output goes into the sandbox's stdout and stderr. If anything fails,
the exit status is 1 and the container is not launched. Mesos' own fetcher is not in the library that ci/mesos uses;
this one behaves like it for http, https, file and plain paths, and knows no other URIs.
"""

# What few need is imported where it is needed: each launch of an executor waits for this program.
import json
import os
import sys
from http.client import HTTPConnection, HTTPSConnection
from shutil import chown, copy, copyfileobj
from pathlib import Path

TARS = (".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
STALL_S = 60


class Failure(Exception):
    """A URI cannot be fetched."""


def main():
    info = json.loads(os.environ["MESOS_FETCHER_INFO"])
    items = info.get("items", [])
    user = info.get("user")
    if any(is_cached(item) for item in items):
        cache = Path(info["cache_directory"])
        cache.mkdir(parents=True, exist_ok=True)
        if user and os.geteuid() == 0:
            chown(cache, user)
    if user:
        become(user)
    for item in items:
        uri = item["uri"]["value"]
        print(f"fetching {uri}", file=sys.stderr)
        try:
            fetch(item, info)
        # Whatever went wrong, the sandbox's stderr is the only place where it can be read.
        except Exception as error:
            sys.exit(f"cannot fetch {uri}: {error}")


def is_cached(item):
    return item.get("action", "BYPASS_CACHE") != "BYPASS_CACHE"


def become(name):
    import pwd

    user = pwd.getpwnam(name)
    if user.pw_uid != os.geteuid():
        os.initgroups(name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)


def fetch(item, info):
    uri = item["uri"]
    sandbox = Path(info["sandbox_directory"])
    target = sandbox / (uri.get("output_file") or file_name(uri["value"]))
    target.parent.mkdir(parents=True, exist_ok=True)
    source = target
    if is_cached(item):
        source = Path(info["cache_directory"]) / item["cache_filename"]
    if not is_cached(item) or item["action"] == "DOWNLOAD_AND_CACHE":
        download(uri["value"].strip(), source, info)
    # What shall be executed is never taken for an archive.
    if not uri.get("executable") and uri.get("extract", True) and unpack(source, sandbox):
        return
    if source != target:
        copy(source, target)
    if uri.get("executable"):
        target.chmod(0o755)


def file_name(uri):
    """What comes after the last slash, even if it has a query in it."""
    scheme, mark, rest = uri.strip().partition("://")
    if mark and not rest.partition("/")[2]:
        raise Failure("there is no path in it")
    name = (rest if mark else scheme).rpartition("/")[2]
    if not name or {"\\", "'", "\0"} & set(name):
        raise Failure("there is no file name in it, or one with a quote or a backslash")
    return name


def download(uri, target, info):
    scheme, mark, path = uri.partition("://")
    if mark and scheme in ("http", "https"):
        stall = info.get("stall_timeout", {}).get("nanoseconds", STALL_S * 1e9) / 1e9
        host, _, rest = path.partition("/")
        connection = (HTTPSConnection if scheme == "https" else HTTPConnection)(host, timeout=stall)
        connection.request("GET", "/" + rest)
        with connection.getresponse() as answer, open(target, "wb") as file:
            if answer.status != 200:
                raise Failure(f"the server answers {answer.status} {answer.reason}")
            copyfileobj(answer, file, 1 << 20)
            # A connection that breaks off looks like an end here.
            length = answer.headers.get("Content-Length")
            if length and file.tell() != int(length):
                raise Failure("it ends too early")
    elif mark and scheme != "file":
        raise Failure("only http, https and file are known")
    else:
        source = Path(info.get("frameworks_home", "")) / (path.removeprefix("localhost") if mark else uri)
        if not source.is_absolute():
            raise Failure("it is a relative path, and the agent has no flag frameworks_home")
        copy(source, target)


def unpack(file, folder):
    """Unpacks an archive, which is known by its name; False if it is none."""
    if file.name.endswith(TARS):
        import subprocess

        subprocess.run(["tar", "-x", "-f", file, "-C", folder], check=True)
    elif file.name.endswith(".zip"):
        import zipfile

        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                made = archive.extract(member, folder)
                # The upper half has what Unix knows about a file, if the archive was made there.
                mode = member.external_attr >> 16 & 0o777
                if mode and not member.is_dir():
                    os.chmod(made, mode)
    elif file.name.endswith(".gz"):
        import gzip

        with gzip.open(file) as source, open(folder / file.stem, "wb") as made:
            copyfileobj(source, made)
    else:
        return False
    return True


main()
