#!/bin/sh
# still-paused.sh UNIT...: for `still`: exit 1 if a process of these systemd units does not stand still any more, for then somebody has let
# it go on, or started it anew, while the failure was to be there.
set -eu
[ $# != 0 ] || { sed -n '2s/^# //p' "$0" >&2; exit 1; }
for unit; do
    process=$(systemctl show --property MainPID --value "$unit")
    # Its state stands behind its name, which may have brackets in it.
    state=$(sed 's/.*) \(.\) .*/\1/' "/proc/$process/stat" 2>/dev/null) || state=''
    [ "$state" = T ] || { echo "$unit does not stand still any more" >&2; exit 1; }
done
