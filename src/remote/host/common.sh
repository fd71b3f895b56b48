# common.sh: what the texts of this folder share. Where a function answers, the answer is in $_pisaura_r.

# The time since the machine was started, in hundredths of a second, by a clock that never jumps; "-" where it is not told.
_pisaura_now() {
    _pisaura_r=-
    { read -r _pisaura_x _pisaura_y </proc/uptime; } 2>/dev/null || return 0
    case $_pisaura_x in
    *[!0-9.]* | .* | '') ;;
    *.[0-9][0-9]) _pisaura_r=$((${_pisaura_x%.*} * 100 + 1${_pisaura_x#*.} - 100)) ;;
    esac
}

# When process $1 was started (field 22 of /proc/PID/stat); "-" where that is not told, and for one that has ended already and that
# nobody has waited for yet.
_pisaura_start() {
    _pisaura_r=-
    { read -r _pisaura_x <"/proc/$1/stat"; } 2>/dev/null || return 0
    set -- ${_pisaura_x##*) }
    case ${1-} in [ZX]) return 0 ;; esac
    [ $# -lt 20 ] || { shift 19; _pisaura_r=$1; }
}

# Whether process $1 is the one that was started at $2, and is alive. A number alone proves nothing: it may be another's by now.
_pisaura_lives() {
    case ${1:--}${2:--} in *[!0-9]*) return 1 ;; esac
    _pisaura_start "$1"
    [ "$_pisaura_r" = "$2" ]
}

# Writes $2 over what is in file $1 of the case's folder, without a byte of room: the file has its full length from the first.
_pisaura_put() {
    { printf '%-63s\n' "$2" 1<>"$_pisaura_C/$1"; } 2>/dev/null
}

# Reads the first two words of file $1 of the case's folder into $_pisaura_r and $_pisaura_q; "-" if there is nothing.
_pisaura_get() {
    _pisaura_r=- _pisaura_q=-
    { read -r _pisaura_r _pisaura_q <"$_pisaura_C/$1"; } 2>/dev/null || :
    _pisaura_r=${_pisaura_r:--} _pisaura_q=${_pisaura_q:--}
}

# What this machine is: machine id, boot id, PID namespace, start of process 1; "-" for what it does not tell.
_pisaura_identify() {
    _pisaura_x=-
    { read -r _pisaura_x </etc/machine-id; } 2>/dev/null || _pisaura_x=-
    _pisaura_i=${_pisaura_x:--}
    { read -r _pisaura_x </proc/sys/kernel/random/boot_id; } 2>/dev/null || _pisaura_x=-
    _pisaura_i="$_pisaura_i ${_pisaura_x:--}"
    _pisaura_x=$(readlink /proc/self/ns/pid 2>/dev/null) || _pisaura_x=-
    _pisaura_x=${_pisaura_x#pid:?}
    _pisaura_x=${_pisaura_x%]}
    _pisaura_i="$_pisaura_i ${_pisaura_x:--}"
    _pisaura_start 1
    _pisaura_r="$_pisaura_i $_pisaura_r"
}

# Whether identity $1 is this machine's ($2): same, rebooted, other. What is not told says nothing.
_pisaura_compare() {
    # shellcheck disable=SC2086
    set -- $1 $2
    _pisaura_r=same
    [ $# = 8 ] || return 0
    if [ "$1" != "$5" ] && [ "$1" != - ] && [ "$5" != - ]; then
        _pisaura_r=other
    elif [ "$2" != "$6" ] && [ "$2" != - ] && [ "$6" != - ]; then
        _pisaura_r=rebooted
    elif [ "$3" != "$7" ] && [ "$3" != - ] && [ "$7" != - ]; then
        _pisaura_r=other
    elif [ "$4" != "$8" ] && [ "$4" != - ] && [ "$8" != - ]; then
        _pisaura_r=other
    fi
}

# The processes that carry the case's mark in their environment: they were begun by its inducer, verify or reverter. With an
# argument, only those of that session.
_pisaura_marked() {
    _pisaura_y=$(PISAURA_MARK='' grep -ls "PISAURA_MARK=$_pisaura_M" /proc/[0-9]*/environ 2>/dev/null) || :
    _pisaura_q=
    for _pisaura_x in $_pisaura_y; do
        _pisaura_x=${_pisaura_x#/proc/}
        _pisaura_x=${_pisaura_x%/environ}
        [ "$_pisaura_x" != "$$" ] || continue
        if [ $# -gt 0 ]; then
            _pisaura_z=$_pisaura_x
            _pisaura_session "$_pisaura_x"
            _pisaura_x=$_pisaura_z
            [ "$_pisaura_r" = "$1" ] || continue
        fi
        _pisaura_q="$_pisaura_q $_pisaura_x"
    done
    _pisaura_r=$_pisaura_q
}

# The session of process $1 (field 6 of /proc/PID/stat), if it has not ended.
_pisaura_session() {
    _pisaura_r=-
    { read -r _pisaura_x <"/proc/$1/stat"; } 2>/dev/null || return 0
    # shellcheck disable=SC2086
    set -- ${_pisaura_x##*) }
    case ${1-} in [ZX]) return 0 ;; esac
    [ $# -lt 20 ] || _pisaura_r=$4
}

# Ends the processes that carry the case's mark, and answers with how many there were: 0 if nothing was left. Asked to end
# first, killed two seconds later. With an argument, only those of that session.
_pisaura_end_marked() {
    _pisaura_marked "$@"
    _pisaura_e=$_pisaura_r _pisaura_n=0 _pisaura_k=0
    for _pisaura_x in $_pisaura_e; do _pisaura_k=$((_pisaura_k + 1)); done
    # shellcheck disable=SC2086
    [ -z "$_pisaura_e" ] || kill -TERM $_pisaura_e 2>/dev/null || :
    while [ -n "$_pisaura_e" ] && [ $_pisaura_n -lt 22 ]; do
        if [ $_pisaura_n -lt 20 ]; then sleep 0.1 2>/dev/null || sleep 1; fi
        _pisaura_n=$((_pisaura_n + 1))
        _pisaura_marked "$@"
        _pisaura_e=$_pisaura_r
        # shellcheck disable=SC2086
        [ $_pisaura_n -lt 20 ] || [ -z "$_pisaura_e" ] || kill -KILL $_pisaura_e 2>/dev/null || :
    done
    _pisaura_r=$_pisaura_k
}

# The files that may say who has this machine: one in each root that there may be. In $_pisaura_r, or "" if there is none.
_pisaura_leases() {
    _pisaura_r=
    for _pisaura_x in "$_pisaura_L" "${HOME:-}/.pisaura/${_pisaura_L##*/}" /var/tmp/.pisaura-*/"${_pisaura_L##*/}" /tmp/.pisaura-*/"${_pisaura_L##*/}"; do
        if [ -e "$_pisaura_x" ] && [ "$_pisaura_x" != "${1-}" ]; then
            _pisaura_r=$_pisaura_x
            return 0
        fi
    done
}

# Frees the host, if it is this case's. Taken away in one step, so that whoever frees it twice does not take another's.
_pisaura_free() {
    _pisaura_x=
    { read -r _pisaura_x _pisaura_y <"$_pisaura_L"; } 2>/dev/null || :
    [ -n "$_pisaura_x" ] && [ "$_pisaura_x" = "$_pisaura_M" ] || return 0
    mv -f "$_pisaura_L" "$_pisaura_L.$_pisaura_M" 2>/dev/null || return 0
    _pisaura_x=
    { read -r _pisaura_x _pisaura_y <"$_pisaura_L.$_pisaura_M"; } 2>/dev/null || :
    [ "$_pisaura_x" = "$_pisaura_M" ] || ln "$_pisaura_L.$_pisaura_M" "$_pisaura_L" 2>/dev/null || :
    rm -f "$_pisaura_L.$_pisaura_M"
}

# Who has tried to heal the host first, and when, counted from $_pisaura_a: said once, before they do.
_pisaura_touch() {
    _pisaura_get touched
    [ "$_pisaura_r" = - ] || return 0
    _pisaura_now
    case $_pisaura_r$_pisaura_a in
    *[!0-9]*) _pisaura_r=unknown ;;
    *) _pisaura_r=$((_pisaura_r - _pisaura_a)) ;;
    esac
    _pisaura_put touched "$_pisaura_r $1" || :
}
