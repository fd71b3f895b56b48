#!/bin/sh
# still-blocked.sh: have the rules of iptables that this case has made held up anything? For `still`: exit 1 if they are gone, or if no
# packet has met them, for then nothing was tested. Arguments are not needed, and ignored.
set -eu
: "${PISAURA_CASE:?marks what is ours}"
[ "$(id -u)" = 0 ] || exec sudo -n env PISAURA_CASE="$PISAURA_CASE" "$0" "$@"
mark="pisaura $PISAURA_CASE "
rules=0 packets=0
for table in iptables ip6tables; do
    command -v $table >/dev/null || continue
    listed=$($table -w -nvxL 2>/dev/null) || { [ $table = ip6tables ] && continue; echo "the rules cannot be read" >&2; exit 1; }
    for count in $(echo "$listed" | grep -F "/* $mark*/" | awk '{ print $1 }'); do
        rules=$((rules + 1)) packets=$((packets + count))
    done
done
[ $rules != 0 ] || { echo "there are no rules of this case any more" >&2; exit 1; }
[ $packets != 0 ] || { echo "no packet has met the rules: nothing goes that way" >&2; exit 1; }
echo "$packets packets were held up by $rules rules"
