#!/bin/sh
# fill-disk.sh FOLDER [LEAVE_MIB]: fills the file system of this folder, but for so many MiB (0). free-disk.sh undoes it.
# Needs to be allowed to write there. Where there is more than 64 GiB to be filled, it refuses.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ -d "$1" ] || { echo "there is no folder $1" >&2; exit 1; }
file=$1/.pisaura-$PISAURA_CASE
free_kib=$(df -Pk "$1" | awk 'NR == 2 { print $4 }')
fill_mib=$((free_kib / 1024 - ${2:-0}))
[ $fill_mib -le 65536 ] || { echo "$1 has $fill_mib MiB free: too many to be filled" >&2; exit 1; }
# What is there already stays; the last block that fits is written until there is no room.
if [ $fill_mib -gt 0 ]; then
    # shellcheck disable=SC2086
    fallocate -l "$(($(stat -c %s "$file" 2>/dev/null || echo 0) / 1048576 + fill_mib))M" "$file" 2>/dev/null ||
        dd if=/dev/zero bs=1M count=$fill_mib >>"$file" 2>/dev/null || true
fi
[ "${2:-0}" != 0 ] || dd if=/dev/zero bs=4k >>"$file" 2>/dev/null || true
[ -s "$file" ] || [ $fill_mib -le 0 ]
