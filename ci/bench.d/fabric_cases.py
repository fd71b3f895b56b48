"""The benchmark's cases with Fabric: fabric_cases.py PORT USER KEY KNOWN_HOSTS FOLDER CASES."""

import subprocess
import sys

from fabric import Config, Connection
from paramiko import RejectPolicy

port, user, key, known_hosts, folder, cases = sys.argv[1:]


def healthcheck():
    subprocess.run([f"{folder}/healthcheck.sh"], check=True, capture_output=True)


host = Connection(
    "127.0.0.1",
    user=user,
    port=int(port),
    config=Config(overrides={"load_ssh_configs": False}),
    connect_kwargs={"key_filename": key, "allow_agent": False, "look_for_keys": False},
)
with host:
    # Fabric takes any host key unless it is told not to; the other ways check it.
    host.client.load_host_keys(known_hosts)
    host.client.set_missing_host_key_policy(RejectPolicy())
    for script in ["inducer.sh", "reverter.sh"]:
        host.put(f"{folder}/{script}")
    for _ in range(int(cases)):
        healthcheck()
        host.run("./inducer.sh", hide=True, in_stream=False)
        healthcheck()
        host.run("./reverter.sh", hide=True, in_stream=False)
        healthcheck()
