"""lookup.py: what healthcheck.py needs, in an archive of its own as scripts of 2016 had it (PYTHONPATH)."""
import subprocess


def found_and_ready(brokers):
    """Writes a message to each partition by these brokers, and says how that went."""
    begin = ",".join(brokers)
    listed = subprocess.run(["kcat", "-L", "-b", begin, "-t", "pisaura", "-m", "5"], capture_output=True, text=True)
    count = listed.stdout.count(" partition ")
    if listed.returncode or not count:
        return "no broker answers"
    for partition in range(count):
        order = ["kcat", "-P", "-b", begin, "-t", "pisaura", "-p", str(partition), "-X", "acks=all", "-X", "message.timeout.ms=10000"]
        if subprocess.run(order, input="x\n", text=True, capture_output=True).returncode:
            return f"not accepted by partition {partition}"
    order = ["kcat", "-C", "-b", begin, "-t", "pisaura", "-o", "-1", "-e", "-q"]
    read = subprocess.run(order, capture_output=True, text=True)
    return "written and read" if read.returncode == 0 and read.stdout.count("x") >= count else "not read"
