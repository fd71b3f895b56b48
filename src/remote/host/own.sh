# own.sh: what makes a process's number its own: when it was started.

# The session of this shell, if it is its alone, in $_pisaura_sid: the one that it leads; or, as root by sudo, the one that sudo has.
# Asked behind _pisaura_start $$.
_pisaura_own_session() {
    case $_pisaura_session in
    "$$") _pisaura_sid=$$ ;;
    "$_pisaura_parent") if [ "${_pisaura_U:-0}" = 1 ]; then _pisaura_sid=$_pisaura_parent; else _pisaura_sid=-; fi ;;
    *) _pisaura_sid=- ;;
    esac
}

# What is known of process $1 (fields 3, 4, 6 and 22 of /proc/PID/stat): its state, parent, session, and when it was started, in
# $_pisaura_r; all "-" where that is not told.
_pisaura_look_at() {
    _pisaura_state=- _pisaura_parent=- _pisaura_session=- _pisaura_r=-
    _pisaura_x=
    # A name may have line ends in it.
    { while IFS= read -r _pisaura_line || [ -n "$_pisaura_line" ]; do _pisaura_x="$_pisaura_x $_pisaura_line"; done <"/proc/$1/stat"; } 2>/dev/null || return 0
    # shellcheck disable=SC2086
    set -- ${_pisaura_x##*) }
    [ $# -ge 20 ] || return 0
    _pisaura_state=$1 _pisaura_parent=$2 _pisaura_session=$4
    shift 19
    _pisaura_r=$1
}

# When process $1 was started; "-" where that is not told, and for one that has ended already, all its threads, and that nobody has
# waited for yet.
_pisaura_start() {
    _pisaura_look_at "$1"
    case $_pisaura_state in
    Z)
        set -- "/proc/$1/task"/*
        [ $# -gt 1 ] || _pisaura_r=-
        ;;
    X) _pisaura_r=- ;;
    esac
}
