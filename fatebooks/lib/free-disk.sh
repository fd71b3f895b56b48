#!/bin/sh
# free-disk.sh FOLDER: takes away what fill-disk.sh has put there, and nothing else.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
rm -f "$1/.pisaura-$PISAURA_CASE"
