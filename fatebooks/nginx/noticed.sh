#!/bin/sh
# noticed.sh: has the balancer noticed that backends are gone? Whoever sends no visitor there any more has; a failure that nobody
# notices tests nothing. Asks NGINX_URL five times for each backend. Before the failure and after it every backend answers. By the
# header X-Backend, which the balancer has to send. Needs curl.
set -eu
command -v curl >/dev/null || { echo "there is no curl here"; exit 127; }
: "${NGINX_URL:?the address of the balancer}"
words() { echo $#; }
# Lists of hosts are words on purpose.
# shellcheck disable=SC2046
backends=$(words $(echo "$PISAURA_HOSTS" | tr , ' ')) broken=$(words $(echo "$PISAURA_TARGETS" | tr , ' '))
number=0 answered=''
while [ $number -lt $((backends * 5)) ]; do
    number=$((number + 1))
    now=$(curl --silent --max-time 2 --dump-header - --output /dev/null "$NGINX_URL" | tr -d '\r' | sed -n 's/^[Xx]-[Bb]ackend: //p') || true
    # Whoever got no answer may have been sent to a broken one.
    [ -n "$now" ] || [ "$PISAURA_STEP" != 2 ] || [ "$broken" = "$backends" ] || { echo "request $number was answered by nobody" >&2; exit 1; }
    case " $answered " in *" $now "*) ;; *) answered="$answered $now" ;; esac
done
# shellcheck disable=SC2086
seen=$(words $answered)
echo "$seen of $backends backends answer:${answered:- none that has a name}"
if [ "$PISAURA_STEP" = 2 ]; then
    [ "$seen" -le $((backends - broken)) ] || { echo "all are still sent visitors" >&2; exit 1; }
else
    [ "$seen" -ge "$backends" ] || { echo "only $seen of $backends backends answer, by the header X-Backend" >&2; exit 1; }
fi
