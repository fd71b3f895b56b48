#!/bin/sh
# unwritable.sh FOLDER: nothing in this folder, nor below it, can be written, made or removed any more by whom it belongs to; what is open
# stays open. writable.sh undoes it. Needs root (or sudo). Where the folder belongs to root, who may write all the same, it refuses.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
[ $# = 1 ] || { sed -n '2s/^# //p' "$0" >&2; exit 1; }
[ -d "$1" ] || { echo "there is no folder $1" >&2; exit 1; }
[ "$(stat -c %u "$1")" != 0 ] || { echo "$1 belongs to root, who may write all the same" >&2; exit 1; }
mark=$1/.pisaura-$PISAURA_CASE-modes
# What the modes were is there as a whole before the first is changed. Names may hold anything but a zero.
if [ ! -e "$mark" ]; then
    find "$1" -xdev \( -type f -o -type d \) -perm /222 ! -name '.pisaura-*' -printf '%m %p\0' >"$mark.new"
    mv "$mark.new" "$mark"
fi
cut -z -d' ' -f2- <"$mark" | xargs -0r chmod a-w --
