#!/bin/sh
# still-stopped.sh UNIT...: for `still`: exit 1 if one of these systemd units runs again that stop-unit.sh has ended for this case, for then
# somebody has started it while the failure was to be there. An option --kill is ignored, so that it can have the same arguments.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "${1:-}" != --kill ] || shift
[ $# != 0 ] || { sed -n '2s/^# //p' "$0" >&2; exit 1; }
for unit; do
    unit=$(systemctl show --property Id --value "$unit")
    case $(systemctl show --property ActiveState --value "$unit") in
    inactive | failed) ;;
    *) echo "$unit runs again, and was to be stopped" >&2; exit 1 ;;
    esac
    [ -e "/run/systemd/system/$unit.d/pisaura-$PISAURA_CASE.conf" ] ||
        { echo "$unit was not stopped by this case, or somebody has started it" >&2; exit 1; }
done
