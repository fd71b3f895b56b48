#!/bin/sh
# writable.sh FOLDER: gives what unwritable.sh has changed for this case in this folder, and is still there, its modes again.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
mark=$1/.pisaura-$PISAURA_CASE-modes
rm -f "$mark.new"
[ -e "$mark" ] || exit 0
# What is gone by now needs no mode. The mode and the name are two words each.
# shellcheck disable=SC2016
sed -z 's/ /\x00/' "$mark" | xargs -0rn 200 /bin/sh -ec '
    while [ $# -gt 1 ]; do
        [ ! -e "$2" ] || [ -h "$2" ] || chmod "$1" -- "$2"
        shift 2
    done' modes
rm -f "$mark"
