# own.sh: what makes a process's number its own: when it was started.

# What is known of process $1 (fields 3, 4, 6 and 22 of /proc/PID/stat): its state, parent, session, and when it was started, in
# $_pisaura_r; all "-" where that is not told.
_pisaura_look_at() {
    _pisaura_state=- _pisaura_parent=- _pisaura_session=- _pisaura_r=-
    { read -r _pisaura_x <"/proc/$1/stat"; } 2>/dev/null || return 0
    # shellcheck disable=SC2086
    set -- ${_pisaura_x##*) }
    [ $# -ge 20 ] || return 0
    _pisaura_state=$1 _pisaura_parent=$2 _pisaura_session=$4
    shift 19
    _pisaura_r=$1
}

# When process $1 was started; "-" where that is not told, and for one that has ended already and that nobody has waited for yet.
_pisaura_start() {
    _pisaura_look_at "$1"
    case $_pisaura_state in [ZX]) _pisaura_r=- ;; esac
}
