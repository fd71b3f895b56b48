# revert.sh: heals the host, if it is the one that was broken, and if nobody else is at it. Run over SSH by a run, or from the case's
# folder by a person or a later run. $_pisaura_tell says what is found; $_pisaura_command is the reverter.

# Whether this is the machine. The mark is what allows, and ids refuse; ids allow only where nothing was ever armed.
_pisaura_find() {
    _pisaura_x=
    ! _pisaura_is_own "$_pisaura_C" || [ ! -f "$_pisaura_C/facts" ] ||
        { read -r _pisaura_x; read -r _pisaura_i; read -r _pisaura_a; } 2>/dev/null <"$_pisaura_C/facts" || _pisaura_x=
    if [ "$_pisaura_x" = "$_pisaura_M" ]; then
        _pisaura_compare "$_pisaura_i" "$_pisaura_I"
        _pisaura_b=$_pisaura_r
        [ "$_pisaura_b" != other ] || { _pisaura_tell m2; exit 0; }
        return 0
    fi
    # The folder is gone, or cannot be reached: where its watcher is alive, this is the machine.
    _pisaura_compare "${_pisaura_O:-}" "$_pisaura_I"
    [ "$_pisaura_r" != other ] || { _pisaura_tell m2; exit 0; }
    _pisaura_b=same _pisaura_a=-
    _pisaura_y=$(printf '%s\n' ".case-$_pisaura_M/watch" | _pisaura_search -ls -f - /proc/[0-9]*/cmdline) || case $? in
    124 | 137 | 143)
        # Nobody can see whether its watcher is there, so nobody knows that nothing was armed.
        echo 'a process there hangs, so what is armed cannot be looked for' >&2
        _pisaura_tell m1
        exit 0
        ;;
    esac
    for _pisaura_x in $_pisaura_y; do
        _pisaura_x=${_pisaura_x#/proc/}
        _pisaura_v=${_pisaura_x%/cmdline}
        [ "$_pisaura_v" != $$ ] || continue
        # It holds its orders open, as no child of its does, and nobody else. One that is seen from outside of its container is no process
        # of this machine.
        case $(readlink "/proc/$_pisaura_v/fd/3" 2>/dev/null) in *"/.case-$_pisaura_M/orders" | *"/.case-$_pisaura_M/orders (deleted)") ;; *) continue ;; esac
        case $(tr '\000' ' ' <"/proc/$_pisaura_v/cmdline" 2>/dev/null) in *"/sh "*"/.case-$_pisaura_M/watch ") ;; *) continue ;; esac
        [ ! -e /proc/self/ns/mnt ] || [ "/proc/$_pisaura_v/ns/mnt" -ef /proc/self/ns/mnt ] || continue
        _pisaura_start "$_pisaura_v"
        _pisaura_v="$_pisaura_v $_pisaura_r"
        # What it needs may have to be brought to another folder first.
        [ "$_pisaura_G" = 1 ] || { _pisaura_tell m3; exit 0; }
        _pisaura_make_anew || :
        return 0
    done
    # Nothing was ever armed here, where all that is known of the machine is the same, and this run's own folder is: a text that did
    # not arrive has armed nothing. One that is only late finds a folder in its way, and begins nothing any more.
    _pisaura_v=
    if _pisaura_is_it && _pisaura_claim; then
        for _pisaura_x in healed reverting induced inducing touched; do printf '%-63s\n' - >"$_pisaura_C/$_pisaura_x"; done
        printf '%-63s\n' over >"$_pisaura_C/orders"
        printf '%s\n' "$_pisaura_M" "$_pisaura_I" - "${HOME:-/}" >"$_pisaura_C/facts"
        return 0
    fi
    _pisaura_tell m1
    exit 0
}

# Makes the case's folder anew, as it was when the case was armed: who reverts tells there that he does, and the watcher goes on if he
# fails.
_pisaura_make_anew() {
    (
        umask 077
        mkdir -p "${_pisaura_C%/*}" && mkdir "$_pisaura_C" "$_pisaura_C/armed" || exit 1
        for _pisaura_x in healed reverting induced inducing touched word left; do printf '%-63s\n' - >"$_pisaura_C/$_pisaura_x" || exit 1; done
        printf '%-63s\n' "$_pisaura_v" >"$_pisaura_C/watcher" && printf '%-63s\n' armed >"$_pisaura_C/orders" &&
            printf '%s\n' "$_pisaura_M" "$_pisaura_I" - "${HOME:-/}" >"$_pisaura_C/facts"
    ) 2>/dev/null
}

# Whether this is the machine that was prepared, by this run's folder and by an identity that is known and the same, or the same but
# for its boot; and nobody has heard of an inducer that was begun.
_pisaura_is_it() {
    [ "${_pisaura_N:-}" = 1 ] && _pisaura_is_own "$_pisaura_F" && [ ! -e "$_pisaura_F/.again" ] && [ "$_pisaura_C" = "$_pisaura_F/.case-$_pisaura_M" ] || return 1
    _pisaura_compare "${_pisaura_O:-}" "$_pisaura_I"
    _pisaura_b=$_pisaura_r
    [ "$_pisaura_b" != rebooted ] || return 0
    _pisaura_b=same
    [ "${_pisaura_O:-}" = "$_pisaura_I" ] || return 1
    # shellcheck disable=SC2086
    set -- $_pisaura_O
    [ $# = 5 ] && [ "$2" != - ] && [ "$4" != - ]
}

# Makes the case's folder, or takes it from a shell that has died while it armed: without facts nothing was begun.
_pisaura_claim() {
    mkdir "$_pisaura_C" 2>/dev/null && return 0
    _pisaura_is_own "$_pisaura_C" || return 1
    if [ "$_pisaura_b" = same ]; then
        { read -r _pisaura_p _pisaura_q _ <"$_pisaura_F/.arming-$_pisaura_M"; } 2>/dev/null || return 1
        case $_pisaura_p in *[!0-9]* | '') return 1 ;; esac
        case $_pisaura_q in
        -) if kill -0 "$_pisaura_p" 2>/dev/null; then return 1; fi ;;
        *) if _pisaura_lives "$_pisaura_p" "$_pisaura_q"; then return 1; fi ;;
        esac
    fi
    rmdir "$_pisaura_C/armed" 2>/dev/null
    return 0
}

# The time since the host was armed; "-" if it is not known.
_pisaura_elapsed() {
    _pisaura_now
    case $_pisaura_r$_pisaura_a in
    *[!0-9]*) _pisaura_r=- ;;
    *) _pisaura_r=$((_pisaura_r - _pisaura_a)) ;;
    esac
    [ "$_pisaura_b" = same ] || _pisaura_r=-
}

# The watcher, if it lives: its number. After a reboot it is another process's.
_pisaura_watcher() {
    [ "$_pisaura_b" = same ] || return 1
    if [ -n "$_pisaura_v" ]; then set -- $_pisaura_v; else
        _pisaura_get watcher
        set -- "$_pisaura_r" "${_pisaura_q%% *}"
    fi
    _pisaura_lives "$1" "$2" || return 1
    _pisaura_r=$1
}

# Ends with 0 if the host is healed already; tells by whom. Where we did it ourselves, and were not heard, who had tried it first stands
# behind that.
_pisaura_is_healed() {
    _pisaura_is_said_healed || return 1
    # shellcheck disable=SC2086
    set -- "$_pisaura_r" $_pisaura_q
    case $2 in
    "$_pisaura_T") [ "${4:--}" = - ] || _pisaura_tell_first "$3" "$4" ;;
    *) _pisaura_tell_first "$1" "$2" ;;
    esac
}

# Tells of who has healed the host, or tried to, before us: $2, and when, $1.
_pisaura_tell_first() {
    case $2 in
    "$_pisaura_T") ;;
    watcher) _pisaura_tell w "$1" ;;
    *) _pisaura_tell o "$1" ;;
    esac
}

# Waits while $1 says so: as long as a reverter may take that was begun at $_pisaura_g. Where that is not known, from now on.
_pisaura_wait() {
    _pisaura_n=0
    while "$1"; do
        _pisaura_now
        case $_pisaura_r$_pisaura_g in
        *[!0-9]*) [ $_pisaura_n -lt $((_pisaura_P * 5)) ] || return 0 ;;
        *) [ $((_pisaura_r - _pisaura_g)) -lt $((_pisaura_P * 100)) ] || return 0 ;;
        esac
        [ $_pisaura_n != 0 ] || _pisaura_tell waits
        sleep 0.2 2>/dev/null || { sleep 1; _pisaura_n=$((_pisaura_n + 4)); }
        _pisaura_n=$((_pisaura_n + 1))
    done
}

# Whether the watcher's reverter is at work, and since when: in $_pisaura_g. Between its tries there is nothing to wait for: it lets
# us finish, and goes on where we fail.
_pisaura_is_watching() {
    [ ! -d "$_pisaura_C/armed" ] && _pisaura_watcher || return 1
    ! _pisaura_is_said_healed || return 1
    _pisaura_get word
    _pisaura_g=${_pisaura_q%% *}
    [ "$_pisaura_r" = running ] || [ "$_pisaura_r" = - ]
}

# Sends the watcher away, which hangs in its reverter: we go on once it is gone.
_pisaura_stop_watcher() {
    _pisaura_watcher || return 0
    _pisaura_z=$_pisaura_r
    _pisaura_put orders stop || :
    { printf '%-63s\n' stop 1<>"/proc/$_pisaura_z/fd/3"; } 2>/dev/null || :
    kill -TERM "$_pisaura_z" 2>/dev/null || :
    _pisaura_n=0
    while [ $_pisaura_n -lt 5 ] && _pisaura_watcher; do
        sleep 0.2 2>/dev/null || sleep 1
        _pisaura_n=$((_pisaura_n + 1))
    done
    if _pisaura_watcher; then kill -KILL "$_pisaura_r" 2>/dev/null || :; fi
}

# Takes the turn: a file that is made new, or not at all. Whoever has it is let finish, and is ended if it does not.
_pisaura_take_turn() {
    [ -d "$_pisaura_C" ] || return 0
    # Where there is no room for a word, whoever has the turn has said so here.
    _pisaura_get reverting
    _pisaura_before="$_pisaura_r $_pisaura_q" _pisaura_other="$_pisaura_r ${_pisaura_q%% *}"
    _pisaura_now
    _pisaura_g=$_pisaura_r
    _pisaura_start $$
    _pisaura_s="$$ $_pisaura_r $_pisaura_g"
    # Not over the word of one who is at it: if we are ended while we wait, nobody would know of him.
    # shellcheck disable=SC2086
    _pisaura_lives $_pisaura_other || _pisaura_put reverting "$_pisaura_s" || :
    _pisaura_k=0
    until { set -C && printf "" >"$_pisaura_C/turn"; } 2>/dev/null; do
        set +C
        # Where no file can be made there is nobody's either.
        [ -e "$_pisaura_C/turn" ] && [ $_pisaura_k -lt 5 ] || { _pisaura_put reverting "$_pisaura_s" || :; return 0; }
        _pisaura_wait _pisaura_has_turn
        if _pisaura_has_turn; then _pisaura_end_group "$_pisaura_r" "${_pisaura_q%% *}"; fi
        rm -f "$_pisaura_C/turn" || { _pisaura_put reverting "$_pisaura_s" || :; return 0; }
        _pisaura_k=$((_pisaura_k + 1))
    done
    set +C
    { printf '%s\n' "$_pisaura_s" >>"$_pisaura_C/turn"; } 2>/dev/null || :
    _pisaura_put reverting "$_pisaura_s" || :
}

# Whether another shell has the turn: which, and since when, in $_pisaura_g.
_pisaura_has_turn() {
    [ "$_pisaura_b" = same ] || return 1
    _pisaura_get turn
    if [ "$_pisaura_r" = - ]; then _pisaura_r=${_pisaura_before%% *} _pisaura_q=${_pisaura_before#* }; fi
    _pisaura_g=${_pisaura_q#* }
    _pisaura_g=${_pisaura_g%% *}
    _pisaura_z=$_pisaura_r
    [ "$_pisaura_r" != $$ ] && _pisaura_lives "$_pisaura_r" "${_pisaura_q%% *}" && _pisaura_r=$_pisaura_z
}

# Ends process $1, which was started at $2, and the group that it leads, if it leads one.
_pisaura_end_group() {
    kill -TERM "-$1" 2>/dev/null || kill -TERM "$1" 2>/dev/null || return 0
    _pisaura_n=0
    while [ $_pisaura_n -lt 20 ] && { kill -0 "-$1" 2>/dev/null || _pisaura_lives "$1" "$2"; }; do
        sleep 0.1 2>/dev/null || sleep 1
        _pisaura_n=$((_pisaura_n + 1))
    done
    kill -KILL "-$1" 2>/dev/null || :
    if _pisaura_lives "$1" "$2"; then kill -KILL "$1" 2>/dev/null || :; fi
}

_pisaura_v=
_pisaura_find
_pisaura_elapsed
_pisaura_tell t "$_pisaura_r"
[ "$_pisaura_b" != rebooted ] || _pisaura_tell z
_pisaura_get induced
_pisaura_tell i "$_pisaura_r"
_pisaura_now
case $_pisaura_r:${_pisaura_q%% *}:$_pisaura_b in
*[!0-9]*:*:* | *:*[!0-9]*:* | *::* | *:rebooted) ;;
*) _pisaura_tell e $((_pisaura_r - ${_pisaura_q%% *})) ;;
esac
_pisaura_s=
if _pisaura_is_healed; then
    _pisaura_s=0
else
    _pisaura_take_turn
    _pisaura_s=
    # Before anything that may heal it: whoever comes later has to see that, also if we do not come to our end.
    _pisaura_touch "$_pisaura_T"
    # Said before it is looked who induces, as an inducer says so before it looks whether it still may.
    # Where it cannot be said, the host is not this case's any more, which an inducer looks at, too.
    [ ! -d "$_pisaura_C" ] || _pisaura_put_down orders reverting || _pisaura_free
    # Where the folder is gone nobody can say that it begins: the watcher goes, and we do it.
    if [ "$_pisaura_D" = 1 ] && [ ! -d "$_pisaura_C" ] && _pisaura_watcher; then _pisaura_stop_watcher; fi
    # Each says that it begins before it looks whether the other does; where both do, both step back, and look again.
    _pisaura_k=0
    while [ "$_pisaura_D" = 1 ] && [ $_pisaura_k -lt 3 ] && _pisaura_is_watching; do
        _pisaura_put reverting - || :
        _pisaura_wait _pisaura_is_watching
        if _pisaura_is_watching; then _pisaura_stop_watcher; fi
        _pisaura_start $$
        _pisaura_put reverting "$$ $_pisaura_r -" || :
        _pisaura_k=$((_pisaura_k + 1))
    done
    if _pisaura_is_healed; then
        _pisaura_s=0
    fi
fi
if [ -z "$_pisaura_s" ]; then
    # What the inducer, or a reverter before this one, has left running would go on breaking the host, or heal it in a later case.
    # One that cannot be ended may be what the reverter ends.
    _pisaura_still=
    # Whoever looks what was left may be about to be done.
    _pisaura_n=0
    while _pisaura_get left && [ "$_pisaura_r" = looking ] && [ $_pisaura_n -lt 40 ]; do
        sleep 0.005 2>/dev/null || break
        _pisaura_n=$((_pisaura_n + 1))
    done
    # By the time at which it begins: what it heals at once, and then takes long for, is healed. To end what an inducer has left may be
    # all that heals it.
    _pisaura_elapsed
    [ "$_pisaura_r" != - ] || _pisaura_r=unknown
    _pisaura_healing=$_pisaura_r
    _pisaura_end_all "$_pisaura_b" || _pisaura_still=1
    [ "$_pisaura_r" = 0 ] || _pisaura_tell n "$_pisaura_r"
    _pisaura_start $$
    export PISAURA_BY="$$:$_pisaura_r"
    set -- /proc/[0-9]*
    _pisaura_there=$*
    _pisaura_now
    _pisaura_begun=$_pisaura_r
    # What was on its way to the disk when the machine went down is not there, as which steps were begun.
    [ "$_pisaura_b" != rebooted ] || export _pisaura_every=1
    set +eu
    _pisaura_command
    _pisaura_s=$?
    # One that takes so long is ended by others, and may say then whatever it likes.
    _pisaura_now
    _pisaura_lasted=-
    case $_pisaura_r$_pisaura_begun in
    *[!0-9]*) ;;
    *)
        _pisaura_lasted=$((_pisaura_r - _pisaura_begun))
        if [ $_pisaura_s = 0 ] && [ $((_pisaura_r - _pisaura_begun)) -ge $((_pisaura_P * 100 - 50)) ]; then
            echo 'the reverter took longer than its time limit: nobody knows whether it came to its end, or was ended' >&2
            _pisaura_s=124
        fi
        ;;
    esac
    # A host that somebody goes on breaking is no healed host, whatever its reverter says: it is reverted again once he is gone.
    if [ $_pisaura_s = 0 ] && [ -n "$_pisaura_still" ]; then
        echo 'the reverter succeeded, but while the inducer, or what it has begun, was still at work, and could not be ended' >&2
        _pisaura_s=124
    fi
    if [ $_pisaura_s = 0 ]; then
        # What the reverter has left running in our session goes, and before the service is asked: it might heal in a later case. A
        # service that it has started has a session of its own. Which session that is, is asked while this shell lives.
        # Where it was quick, and no process is new, it has left none: no number is given to another so soon.
        _pisaura_ended=0 _pisaura_all=$_pisaura_there
        set -- /proc/[0-9]*
        _pisaura_arrived "$@"
        if [ -n "$_pisaura_come" ] || [ ! -d "$1" ] || [ "${_pisaura_lasted#-}" = '' ] || [ "$_pisaura_lasted" -gt 50 ]; then
            _pisaura_session $$
            _pisaura_end_marked "$_pisaura_r" || :
        fi
        [ "$_pisaura_ended" = 0 ] || _pisaura_tell k "$_pisaura_ended"
        # Somebody else's try may have healed it before, whatever it ended with.
        _pisaura_get touched
        _pisaura_q=${_pisaura_q%% *}
        _pisaura_put healed "$_pisaura_healing $_pisaura_T $_pisaura_r $_pisaura_q"
        [ "$_pisaura_r" = - ] || _pisaura_tell_first "$_pisaura_r" "$_pisaura_q"
    fi
fi
set +eu
if [ $_pisaura_s != 0 ]; then
    # Unless they are another's by now, who has ended us.
    _pisaura_get reverting
    [ "$_pisaura_r" != $$ ] || _pisaura_put reverting -
    _pisaura_get turn
    case $_pisaura_r in "$$" | -) rm -f "$_pisaura_C/turn" ;; esac
fi
if [ $_pisaura_s = 0 ]; then
    # The word first, which a watcher hears that sees nothing else any more; then it is sent away, and ended if the word did not get to
    # it: it would heal in the middle of another case.
    _pisaura_keep=0
    _pisaura_put_down orders over || _pisaura_keep=1
    if _pisaura_watcher; then
        _pisaura_z=$_pisaura_r
        { printf '%-63s\n' over 1<>"/proc/$_pisaura_z/fd/3"; } 2>/dev/null
        _pisaura_x=-
        { read -r _pisaura_x _ <"/proc/$_pisaura_z/fd/3"; } 2>/dev/null
        [ "$_pisaura_x" != over ] || _pisaura_keep=0
        if [ $_pisaura_keep = 0 ]; then kill -TERM "$_pisaura_z" 2>/dev/null; else kill -KILL "$_pisaura_z" 2>/dev/null; fi
        _pisaura_keep=0
    fi
    # What says that the case is over stays until that is written down elsewhere; where it could not be said here, all of it stays.
    _pisaura_is_said_healed || _pisaura_keep=1
    (
        [ $_pisaura_keep = 0 ] || exit 0
        # Once `watch` is gone, nothing more is done here.
        _pisaura_free
        cd "${_pisaura_C:?}" && rm -rf "$_pisaura_F/.arming-$_pisaura_M" armed revert heal out ready word left begun inducing induced watcher reverting turn touched lease watch
    ) </dev/null >/dev/null 2>&1 &
fi
