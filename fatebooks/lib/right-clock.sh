#!/bin/sh
# right-clock.sh: sets the clock of this host to what it would be if shift-clock.sh had not shifted it for this case. A clock
# that is right by half a second already, by NTP or by hand, is left alone. Arguments are not needed, and ignored.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
mark=/run/pisaura-clock-$PISAURA_CASE
rm -f "$mark.new"
[ -e "$mark" ] || exit 0
since_boot_ms() { sed 's/^\([0-9]*\)\.\([0-9][0-9]\).*/\1\20/' /proc/uptime; }
wanted_ms=$(($(cat "$mark") + $(since_boot_ms)))
off_ms=$(($(date +%s%3N) - wanted_ms))
if [ ${off_ms#-} -gt 500 ]; then
    wanted_ms=$(($(cat "$mark") + $(since_boot_ms)))
    date -s "@$((wanted_ms / 1000)).$(printf %03d $((wanted_ms % 1000)))" >/dev/null
fi
rm -f "$mark"
