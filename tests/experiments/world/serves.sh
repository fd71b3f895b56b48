#!/bin/sh
# Whether two of the three instances are up.
cd "$WORLD" || exit 2
set -- instances/*
[ $# -ge 2 ] || { echo "only $# instance is up" >&2; exit 1; }
