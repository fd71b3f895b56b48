#!/bin/sh
# Healthcheck: does real work as a client would. Stores a note on every replica, reads it back, and counts those that did
# both; exit 0 only if there are enough. Runs where the case runs, never on the host that is broken.
#
#   --replicas=N   how many have to answer
#   --step=N       1 before the failure, 2 during it, 3 after the revert: given by Pisaura
replicas=1
for argument; do
    case $argument in
        --replicas=*) replicas=${argument#*=} ;;
        --step=*) ;; # the same question at every step
        *) echo "unknown argument: $argument" >&2; exit 64 ;;
    esac
done

# ask HOST REQUEST: prints the answer; fails if none comes within a second.
ask() {
    name=$PISAURA_SANDBOX/$1/inbox/$$
    printf '%s\n' "$2" >"$name.part" && mv "$name.part" "$name.request" || return 1
    tries=0
    until [ -e "$name.answer" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 50 ]; then
            rm -f "$name.request"
            return 1
        fi
        sleep 0.02
    done
    cat "$name.answer"
    rm -f "$name.answer"
}

answering=0
for host in $(echo "$PISAURA_HOSTS" | tr , ' '); do
    if [ "$(ask "$host" "put greeting hello-$$")" = stored ] && [ "$(ask "$host" "get greeting")" = "hello-$$" ]; then
        answering=$((answering + 1))
    else
        echo "no answer from $host" >&2
    fi
done
echo "$answering of the replicas answer, $replicas have to"
[ "$answering" -ge "$replicas" ]
