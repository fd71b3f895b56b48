#!/bin/sh
# cluster.sh: read by the other scripts that run where the case runs: which server is what, and how one of them is asked.
# PGUSER, PGPASSWORD, PGDATABASE and PGPORT say how to get in. Needs psql.
# What is set here is used there.
# shellcheck disable=SC2034
command -v psql >/dev/null || { echo "there is no psql here"; exit 127; }
# Whatever else is said of a server there would come before the host's name.
unset PGHOSTADDR PGSERVICE
export LC_ALL=C PGCONNECT_TIMEOUT=2 PGOPTIONS='-c statement_timeout=5s -c client_min_messages=warning'
hosts=$(echo "$PISAURA_HOSTS" | tr , ' ')
targets=$(echo "$PISAURA_TARGETS" | tr , ' ')
rows=pisaura_$PISAURA_CASE

# ask HOST ...: what this server answers to psql's commands. One that hangs is given up after this time.
ask() {
    at=$1
    shift
    timeout "${patience:-8}" psql -XqtA -v ON_ERROR_STOP=1 "host=$at" "$@" 2>&1
}

# find_roles: sorts the servers that answer into primaries and standbys; `silent` are the others.
find_roles() {
    primaries='' standbys='' silent=''
    for host in $hosts; do
        case $(ask "$host" -c 'select pg_is_in_recovery()') in
        f) primaries="$primaries $host" ;;
        t) standbys="$standbys $host" ;;
        *) silent="$silent $host" ;;
        esac
    done
    primaries=${primaries# } standbys=${standbys# } silent=${silent# }
}

no() { echo "$*" >&2; exit 1; }

# find_primary: the one server that may be written to. Two are worse than none: what is written to one of them will be lost.
find_primary() {
    find_roles
    case $primaries in
    '') no "there is no primary among $hosts" ;;
    *' '*) no "there is more than one primary: $primaries" ;;
    esac
    primary=$primaries
}
