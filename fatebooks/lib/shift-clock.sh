#!/bin/sh
# shift-clock.sh SECONDS: this host's clock is so far ahead from now on, or with a minus behind. right-clock.sh undoes it.
# Needs root (or sudo), and a host that may set its clock: most containers may not. If the host is kept in time by NTP, its daemon sets
# it right sooner or later: stop that (stop-unit.sh) for the time of the failure.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
mark=/run/pisaura-clock-$PISAURA_CASE
# By the time since the host was started, which nobody sets, it can be told how far the clock has been shifted already.
since_boot_ms() { sed 's/^\([0-9]*\)\.\([0-9][0-9]\).*/\1\20/' /proc/uptime; }
[ -e "$mark" ] || { echo $(($(date +%s%3N) - $(since_boot_ms))) >"$mark.new" && mv "$mark.new" "$mark"; }
wanted_ms=$(($(cat "$mark") + $(since_boot_ms) + $1 * 1000))
date -s "@$((wanted_ms / 1000)).$(printf %03d $((wanted_ms % 1000)))" >/dev/null ||
    { rm -f "$mark"; echo "this host may not set its clock" >&2; exit 1; }
