#!/bin/sh
# unblock.sh: takes away all rules of iptables that this case has made, and no others. Arguments are not needed, and ignored.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
mark="--comment \"pisaura $PISAURA_CASE\""
for table in iptables ip6tables; do
    command -v $table >/dev/null || continue
    # A kernel without IPv6 has nothing there.
    [ $table = iptables ] || $table -w -S >/dev/null 2>&1 || continue
    rules=$($table -w -S)
    echo "$rules" | grep -F -e "$mark" | while read -r _ rule; do
        # By what it says, not by its number, for others make rules too. Only the comment has quotes and a blank.
        # shellcheck disable=SC2086
        set -- ${rule%%"$mark"*} --comment "pisaura $PISAURA_CASE" ${rule#*"$mark"}
        $table -w -D "$@"
    done
    rules=$($table -w -S)
    case $rules in *"$mark"*) echo "there are still rules of this case" >&2; exit 1 ;; esac
done
