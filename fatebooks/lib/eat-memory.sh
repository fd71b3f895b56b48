#!/bin/sh
# eat-memory.sh MIB: a process holds so much memory. release-memory.sh undoes it. Where there is less, the kernel ends a
# process, be it this one or another: that may be the failure to be tried.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
mib=$1
held_kib() {
    ours=$(grep -lsz "^PISAURA_EATS=memory-$PISAURA_CASE\$" /proc/[0-9]*/environ | sed 's/environ$/status/')
    # With none of them only this is read.
    # shellcheck disable=SC2086
    awk '$1 == "VmRSS:" { sum += $2 } END { print sum + 0 }' /dev/null $ours 2>/dev/null || echo 0
}
if [ "$(held_kib)" -lt $((mib * 1024)) ]; then
    # All its processes carry the variable, so that release-memory.sh finds them, whoever of them is left.
    # The last line of its input is what tail keeps, and this one does not end.
    # shellcheck disable=SC2016
    PISAURA_EATS=memory-$PISAURA_CASE setsid /bin/sh -c '{ head -c "$1M" /dev/zero; exec sleep 86400; } | exec tail -n 1' eat "$mib" </dev/null >/dev/null 2>&1 &
    tries=0
    until [ "$(held_kib)" -ge $((mib * 1024)) ]; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || { echo "only $(($(held_kib) / 1024)) of $mib MiB are held" >&2; exit 1; }
        sleep 0.1
    done
fi
