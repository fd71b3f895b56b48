#!/bin/sh
# health.sh --step=N: does the balancer answer? Asks NGINX_URL five times for each backend; each answer has to come within
# two seconds, and all have to be the same page. Before the failure and after it every backend has to have answered one of
# them (by the header X-Backend, if the balancer sends it). Exit 0 only if all pages were really read. Needs curl.
set -eu
command -v curl >/dev/null || { echo "there is no curl here"; exit 127; }
step=${1#--step=}
: "${NGINX_URL:?the address of the balancer}"
# shellcheck disable=SC2046
backends=$(set -- $(echo "$PISAURA_HOSTS" | tr , ' '); echo $#)
count=$((backends * 5))
# In the working folder, which goes when the book is done.
folder=.nginx-$PISAURA_CASE
rm -rf "$folder"
mkdir "$folder"
number=0
while [ $number -lt "$count" ]; do
    number=$((number + 1))
    curl --silent --show-error --fail --max-time 2 --dump-header "$folder/head-$number" --output "$folder/page" "$NGINX_URL" ||
        { echo "request $number of $count failed" >&2; exit 1; }
    [ -s "$folder/page" ] || { echo "page $number of $count is empty" >&2; exit 1; }
    [ $number != 1 ] || cp "$folder/page" "$folder/first"
    cmp -s "$folder/page" "$folder/first" || { echo "page $number is another one" >&2; exit 1; }
done
answered=$(cat "$folder"/head-* | tr -d '\r' | sed -n 's/^[Xx]-[Bb]ackend: //p' | sort -u)
seen=$(echo "$answered" | grep -c . || true)
echo "$count pages were read, from ${answered:-unnamed backends}" | paste -sd' '
[ "$step" = 2 ] || [ "$seen" = 0 ] || [ "$seen" -ge "$backends" ] || { echo "only $seen of $backends backends answer" >&2; exit 1; }
