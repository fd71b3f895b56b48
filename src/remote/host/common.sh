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

# Searches what processes show of themselves. One that hangs in a file system that is frozen shows nothing, and whoever asks hangs with
# it: it is left alone after five seconds, where the host can do that, with status 124 or that of a signal; what was found is lost then.
_pisaura_search() {
    if command -v timeout >/dev/null 2>&1; then
        PISAURA_MARK='' LC_ALL=C timeout 5 grep "$@" && return 0 || _pisaura_found=$?
        # That of an old busybox wants its words in another order, and has run nothing.
        case $_pisaura_found in 125 | 126 | 127) ;; *) return $_pisaura_found ;; esac
    fi
    PISAURA_MARK='' LC_ALL=C grep "$@"
}

# Whether process $1 is the one that was started at $2, and is alive. A number alone proves nothing: it may be another's by now.
_pisaura_lives() {
    case ${1:--}${2:--} in *[!0-9]*) return 1 ;; esac
    _pisaura_start "$1"
    [ "$_pisaura_r" = "$2" ]
}

# Whether folder $1 is one, and ours: where many may write, somebody else may have made it anew.
_pisaura_is_own() {
    [ -d "$1" ] && [ -O "$1" ] && [ ! -h "$1" ]
}

# The same, and nobody else may write to it.
_pisaura_is_ours_alone() {
    _pisaura_is_own "$1" || return 1
    case $(ls -ldn "$1" 2>/dev/null) in d????-??-?*) ;; *) return 1 ;; esac
}

# Writes $2 over what is in file $1 of the case's folder, without a byte of room: the file has its full length from the first. Nothing
# is written through a link.
_pisaura_put() {
    _pisaura_is_own "$_pisaura_C" && [ ! -h "$_pisaura_C/$1" ] && { [ -f "$_pisaura_C/$1" ] || [ ! -e "$_pisaura_C/$1" ]; } || return 1
    { printf '%-63s\n' "$2" 1<>"$_pisaura_C/$1"; } 2>/dev/null
}

# The same, and whether it is there now: a disk may take a word and lose it, or not take it at all.
_pisaura_put_down() {
    _pisaura_put "$1" "$2" || return 1
    _pisaura_get "$1"
    [ "$_pisaura_r" = "${2%% *}" ]
}

# Reads the first two words of file $1 of the case's folder into $_pisaura_r and $_pisaura_q; "-" if there is nothing.
_pisaura_get() {
    _pisaura_r=- _pisaura_q=-
    if [ -f "$_pisaura_C/$1" ] && [ -O "$_pisaura_C" ]; then { read -r _pisaura_r _pisaura_q <"$_pisaura_C/$1"; } 2>/dev/null || :; fi
    _pisaura_r=${_pisaura_r:--} _pisaura_q=${_pisaura_q:--}
}

# Whether somebody says that the host is healed: how long after it was armed in $_pisaura_r, and who in $_pisaura_q. A failure may have
# written something else there.
_pisaura_is_said_healed() {
    _pisaura_get healed
    case $_pisaura_r:$_pisaura_q in
    *:- | *: | *:*[!0-9a-z\ -]*) return 1 ;;
    unknown:*) ;;
    *[!0-9]*:*) return 1 ;;
    esac
}

# What this machine is: machine id, boot id, PID namespace, start of process 1, its name; "-" for what it does not tell.
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
    _pisaura_i="$_pisaura_i $_pisaura_r"
    { read -r _pisaura_x </proc/sys/kernel/hostname; } 2>/dev/null || _pisaura_x=-
    case $_pisaura_x in *' '* | '') _pisaura_x=- ;; esac
    _pisaura_r="$_pisaura_i $_pisaura_x"
}

# Whether identity $1 is this machine's ($2): same, rebooted, other. What is not told says nothing; but that a machine of another
# boot is the same one has to be told: machines of one image share their ids, and some have none.
_pisaura_compare() {
    # shellcheck disable=SC2086
    set -- $1 $2
    _pisaura_r=same
    [ $# = 10 ] || return 0
    if [ "$1" != "$6" ] && [ "$1" != - ] && [ "$6" != - ]; then
        _pisaura_r=other
    elif [ "$2" != "$7" ] && [ "$2" != - ] && [ "$7" != - ]; then
        _pisaura_r=other
        if [ "$1" = "$6" ] && [ "$1" != - ] && [ "$5" = "${10}" ] && [ "$5" != - ]; then _pisaura_r=rebooted; fi
    elif [ "$3" != "$8" ] && [ "$3" != - ] && [ "$8" != - ]; then
        _pisaura_r=other
    elif [ "$4" != "$9" ] && [ "$4" != - ] && [ "$9" != - ]; then
        _pisaura_r=other
    fi
}

# Runs the text on standard input, all of it or nothing: a shell takes what it cannot read, and an empty pipe, for a text that does
# nothing, and well.
_pisaura_run() {
    # shellcheck disable=SC2016
    exec ${_pisaura_default-} /bin/sh -c '_p_x=$(cat) || _p_x=; case $_p_x in "{"*"}") eval "$_p_x" </dev/null ;; *) echo "what is to heal the host cannot be read" >&2; exit 127 ;; esac'
}

# The files that may say who has this machine: one in each root that there may be, if it is this user's: what others leave in a
# folder that all may write to is neither believed nor run. Calls $1 with each, until that succeeds; fails if it never does.
_pisaura_each_lease() {
    for _pisaura_x in "$_pisaura_L" "${HOME:-}/.pisaura/${_pisaura_L##*/}" /var/tmp/.pisaura-*/"${_pisaura_L##*/}" /tmp/.pisaura-*/"${_pisaura_L##*/}"; do
        [ -f "$_pisaura_x" ] && [ ! -h "$_pisaura_x" ] && [ -O "$_pisaura_x" ] && _pisaura_is_own "${_pisaura_x%/*}" || continue
        # The root in use was looked at before.
        [ "${_pisaura_x%/*}" = "${_pisaura_L%/*}" ] || _pisaura_is_ours_alone "${_pisaura_x%/*}" || continue
        if "$1" "$_pisaura_x"; then return 0; fi
    done
    return 1
}

# Whether a case of another user's has this machine, by what it has left for all to read, who cannot see into our folders nor we into
# theirs: what says so in $_pisaura_x, who in $_pisaura_q, for how many seconds more at most in $_pisaura_r (0: nobody knows). What was
# left before the machine was started anew says nothing. One whose time is up was not healed, or it would be gone.
_pisaura_is_anothers() {
    [ "${_pisaura_J:-0}" = 1 ] || return 1
    _pisaura_now
    _pisaura_e=$_pisaura_r
    for _pisaura_x in "/var/tmp/.pisaura-${_pisaura_L##*/}".*; do
        # Its name is shown, and may be anything.
        case ${_pisaura_x#"/var/tmp/.pisaura-${_pisaura_L##*/}."} in *[!0-9a-f]* | '') continue ;; esac
        [ -f "$_pisaura_x" ] && [ ! -h "$_pisaura_x" ] && [ ! -O "$_pisaura_x" ] || continue
        { read -r _pisaura_y _pisaura_z _pisaura_q _pisaura_d <"$_pisaura_x"; } 2>/dev/null || continue
        case $_pisaura_e:$_pisaura_z:$_pisaura_d in *[!0-9:]* | *::* | *:) continue ;; esac
        case $_pisaura_I in *" $_pisaura_y "*) ;; *) continue ;; esac
        if [ "$_pisaura_d" = 0 ]; then _pisaura_r=0 && return 0; fi
        _pisaura_r=$((_pisaura_d - (_pisaura_e - _pisaura_z) / 100))
        [ $_pisaura_r -ge 0 ] || _pisaura_r=0
        return 0
    done
    return 1
}

# Frees the host, if it is this case's. Taken away in one step, into the case's folder, so that whoever frees it twice does not take
# another's.
_pisaura_free() {
    [ "${_pisaura_J:-0}" = 0 ] || rm -f "/var/tmp/.pisaura-${_pisaura_L##*/}.$_pisaura_M"
    _pisaura_x=
    { read -r _pisaura_x _pisaura_y <"$_pisaura_L"; } 2>/dev/null || :
    [ -n "$_pisaura_x" ] && [ "$_pisaura_x" = "$_pisaura_M" ] || return 0
    _pisaura_z=$_pisaura_L.$_pisaura_M
    mv -f "$_pisaura_L" "$_pisaura_C/lease" 2>/dev/null && _pisaura_z=$_pisaura_C/lease ||
        mv -f "$_pisaura_L" "$_pisaura_z" 2>/dev/null || return 0
    _pisaura_x=
    { read -r _pisaura_x _pisaura_y <"$_pisaura_z"; } 2>/dev/null || :
    [ "$_pisaura_x" = "$_pisaura_M" ] || ln "$_pisaura_z" "$_pisaura_L" 2>/dev/null || :
    [ "$_pisaura_z" = "$_pisaura_C/lease" ] || rm -f "$_pisaura_z"
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
