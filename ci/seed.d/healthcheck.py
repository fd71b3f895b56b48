"""healthcheck.py --broker=HOST:PORT... --exclude-broker=HOST:PORT --step=N: does the topic take messages and give them back? While the
failure is there the broken broker is not asked first."""
import argparse
import sys
import time

from lookup import found_and_ready

parser = argparse.ArgumentParser()
parser.add_argument("--broker", action="append", default=[])
parser.add_argument("--exclude-broker", action="append", default=[])
parser.add_argument("--step", default="1")
options = parser.parse_args()
asked = [broker for broker in options.broker if options.step != "2" or broker not in options.exclude_broker]
began = time.monotonic()
told = found_and_ready(asked)
print(f"step {options.step}: {told} after {time.monotonic() - began:.1f} s")
sys.exit(0 if told.startswith("written and read") else 1)
