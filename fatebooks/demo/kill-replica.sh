#!/bin/sh
# Inducer: kills this host's replica; whether it comes back is its supervisor's business.
kill -KILL "$(cat replica.pid)"
