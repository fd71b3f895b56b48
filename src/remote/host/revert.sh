# revert.sh: heals the host, if it is the one that was broken, and if nobody else is at it. Run over SSH by a run, or from the case's
# folder by a person or a later run. $_pisaura_tell says what is found; $_pisaura_command is the reverter.

# Whose the case's folder is. Ids only ever refuse; the mark is what allows.
_pisaura_find() {
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
    _pisaura_y=$(printf '%s\n' ".case-$_pisaura_M/watch" | grep -ls -f - /proc/[0-9]*/cmdline) || :
    for _pisaura_x in $_pisaura_y; do
        _pisaura_x=${_pisaura_x#/proc/}
        _pisaura_v=${_pisaura_x%/cmdline}
        [ "$_pisaura_v" != $$ ] || continue
        # One that is seen from outside of its container is no process of this machine.
        [ ! -e /proc/self/ns/mnt ] || [ "/proc/$_pisaura_v/ns/mnt" -ef /proc/self/ns/mnt ] || continue
        _pisaura_start "$_pisaura_v"
        _pisaura_v="$_pisaura_v $_pisaura_r"
        # What it needs may have to be brought to another folder first.
        [ "$_pisaura_G" = 1 ] || { _pisaura_tell m3; exit 0; }
        return 0
    done
    _pisaura_tell m1
    exit 0
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

# Ends with 0 if the host is healed already; tells by whom.
_pisaura_is_healed() {
    _pisaura_get healed
    case $_pisaura_r in
    [0-9]* | unknown) ;;
    *) return 1 ;;
    esac
    case ${_pisaura_q%% *} in
    "$_pisaura_T") ;;
    watcher) _pisaura_tell w "$_pisaura_r" ;;
    *) _pisaura_tell o "$_pisaura_r" ;;
    esac
}

# Waits while $1 says so: as long as a reverter may take that was begun at $_pisaura_g.
_pisaura_wait() {
    _pisaura_n=0
    while "$1"; do
        _pisaura_now
        case $_pisaura_r$_pisaura_g in
        *[!0-9]*) [ $_pisaura_n -lt "$_pisaura_P" ] || return 0 ;;
        *) [ $((_pisaura_r - _pisaura_g)) -lt $((_pisaura_P * 100)) ] || return 0 ;;
        esac
        [ $_pisaura_n != 0 ] || _pisaura_tell waits
        sleep 0.2 2>/dev/null || sleep 1
        _pisaura_n=$((_pisaura_n + 1))
    done
}

# Whether the watcher's reverter is at work, and since when: in $_pisaura_g. Between its tries there is nothing to wait for.
_pisaura_is_watching() {
    [ ! -d "$_pisaura_C/armed" ] && _pisaura_watcher || return 1
    _pisaura_get healed
    case $_pisaura_r in [0-9]* | unknown) return 1 ;; esac
    _pisaura_get word
    _pisaura_g=${_pisaura_q%% *}
    [ "$_pisaura_r" = running ] || [ "$_pisaura_r" = - ]
}

# Takes the turn: a file that is made new, or not at all. Whoever has it is let finish, and is ended if it does not.
_pisaura_take_turn() {
    [ -d "$_pisaura_C" ] || return 0
    _pisaura_now
    _pisaura_g=$_pisaura_r
    _pisaura_start $$
    _pisaura_s="$$ $_pisaura_r $_pisaura_g"
    _pisaura_put reverting "$_pisaura_s" || :
    until { set -C && printf '%s\n' "$_pisaura_s" >"$_pisaura_C/turn"; } 2>/dev/null; do
        set +C
        # Where there is no room for a file there is nobody's either.
        [ -e "$_pisaura_C/turn" ] || break
        _pisaura_wait _pisaura_has_turn
        if _pisaura_has_turn; then _pisaura_end_group "$_pisaura_r"; fi
        _pisaura_X=1
        rm -f "$_pisaura_C/turn"
    done
    set +C
    _pisaura_put reverting "$_pisaura_s" || :
}

# Whether another shell has the turn: which, and since when, in $_pisaura_g.
_pisaura_has_turn() {
    [ "$_pisaura_b" = same ] || return 1
    _pisaura_get turn
    _pisaura_g=${_pisaura_q#* }
    _pisaura_g=${_pisaura_g%% *}
    _pisaura_z=$_pisaura_r
    [ "$_pisaura_r" != $$ ] && _pisaura_lives "$_pisaura_r" "${_pisaura_q%% *}" && _pisaura_r=$_pisaura_z
}

# Ends the group that process $1 leads.
_pisaura_end_group() {
    kill -TERM "-$1" 2>/dev/null || kill -TERM "$1" 2>/dev/null || return 0
    _pisaura_n=0
    while [ $_pisaura_n -lt 20 ] && kill -0 "-$1" 2>/dev/null; do
        sleep 0.1 2>/dev/null || sleep 1
        _pisaura_n=$((_pisaura_n + 1))
    done
    kill -KILL "-$1" 2>/dev/null || :
}

# Ends an inducer that is still at work, whose shell may have lost its connection: its group, and what else is of its session. Fails
# if something of it stays.
_pisaura_end_inducer() {
    _pisaura_get induced
    [ "$_pisaura_r" = begun ] && [ "$_pisaura_b" = same ] || { _pisaura_get inducing; [ "$_pisaura_r" != - ] && [ "$_pisaura_b" = same ]; } || return 0
    _pisaura_get inducing
    _pisaura_p=$_pisaura_r
    case $_pisaura_p in *[!0-9]* | '') return 0 ;; esac
    # A number whose process is another one by now is nobody's.
    if [ -e "/proc/$_pisaura_p" ] && ! _pisaura_lives "$_pisaura_p" "${_pisaura_q%% *}"; then return 0; fi
    _pisaura_k=0
    while :; do
        _pisaura_e=
        for _pisaura_c in /proc/[0-9]*; do
            _pisaura_session "${_pisaura_c#/proc/}"
            [ "$_pisaura_r" != "$_pisaura_p" ] || _pisaura_e="$_pisaura_e ${_pisaura_c#/proc/}"
        done
        [ -n "$_pisaura_e" ] || return 0
        # shellcheck disable=SC2086
        if [ $_pisaura_k -lt 20 ]; then kill -TERM $_pisaura_e 2>/dev/null || :; else kill -KILL $_pisaura_e 2>/dev/null || :; fi
        [ $_pisaura_k -lt 30 ] || return 1
        sleep 0.1 2>/dev/null || sleep 1
        _pisaura_k=$((_pisaura_k + 1))
    done
}

_pisaura_v=
_pisaura_find
_pisaura_get induced
_pisaura_tell i "$_pisaura_r"
_pisaura_s=
if _pisaura_is_healed; then
    _pisaura_s=0
else
    _pisaura_take_turn
    _pisaura_s=
    # Said before it is looked who induces, as an inducer says so before it looks whether it still may.
    [ ! -d "$_pisaura_C" ] || _pisaura_put orders reverting || :
    if [ "$_pisaura_D" = 1 ] && _pisaura_is_watching; then
        _pisaura_put reverting - || :
        _pisaura_wait _pisaura_is_watching
        _pisaura_start $$
        _pisaura_put reverting "$$ $_pisaura_r -" || :
    fi
    if [ "$_pisaura_D" = 1 ] && [ -d "$_pisaura_C" ] && [ ! -d "$_pisaura_C/armed" ] && _pisaura_watcher; then
        # It hangs, or has said no: it stops, and we go on once it is gone.
        _pisaura_X=1
        _pisaura_z=$_pisaura_r
        _pisaura_put orders stop || :
        kill -TERM "$_pisaura_z" 2>/dev/null || :
        _pisaura_n=0
        while [ $_pisaura_n -lt 20 ] && _pisaura_watcher; do
            sleep 0.2 2>/dev/null || sleep 1
            _pisaura_n=$((_pisaura_n + 1))
        done
        if _pisaura_watcher; then kill -KILL "$_pisaura_r" 2>/dev/null || :; fi
    fi
    if _pisaura_is_healed; then
        _pisaura_s=0
    fi
fi
if [ -z "$_pisaura_s" ]; then
    # What the inducer, or a reverter before this one, has left running would go on breaking the host, or heal it in a later case.
    _pisaura_end_inducer || {
        echo 'the inducer is still at work, and cannot be ended' >&2
        _pisaura_s=124
    }
    _pisaura_get left
    if [ "$_pisaura_r" != none ] || [ "$_pisaura_X" = 1 ]; then
        _pisaura_end_marked
        [ "$_pisaura_r" = 0 ] || _pisaura_tell n "$_pisaura_r"
    fi
fi
if [ -z "$_pisaura_s" ]; then
    _pisaura_touch "$_pisaura_T"
    # By the time at which it begins: what it heals at once, and then takes long for, is healed.
    _pisaura_elapsed
    [ "$_pisaura_r" != - ] || _pisaura_r=unknown
    _pisaura_h=$_pisaura_r
    set +eu
    _pisaura_command
    _pisaura_s=$?
    if [ $_pisaura_s = 0 ]; then
        _pisaura_put healed "$_pisaura_h $_pisaura_T"
        # Somebody else's try may have healed it before, whatever it ended with.
        _pisaura_get touched
        case $_pisaura_r:${_pisaura_q%% *} in
        -:* | *:"$_pisaura_T") ;;
        *:watcher) _pisaura_tell w "$_pisaura_r" ;;
        *) _pisaura_tell o "$_pisaura_r" ;;
        esac
    fi
fi
set +eu
if [ $_pisaura_s != 0 ]; then
    _pisaura_put reverting -
    rm -f "$_pisaura_C/turn"
fi
if [ $_pisaura_s = 0 ]; then
    # The word first, which a watcher hears that sees nothing else any more; then the token; then it is sent away.
    _pisaura_put orders over
    if _pisaura_watcher; then
        { printf '%-63s\n' over 1<>"/proc/$_pisaura_r/fd/3"; } 2>/dev/null
        rmdir "$_pisaura_C/armed" 2>/dev/null
        kill -TERM "$_pisaura_r" 2>/dev/null
    fi
    # What the reverter has left running in our session goes: it might heal in a later case. A service that it has started has a
    # session of its own. What says that the case is over stays until that is written down elsewhere.
    (
        _pisaura_session $$
        _pisaura_end_marked "$_pisaura_r"
        # Once `watch` is gone, nothing more is done here.
        _pisaura_free
        cd "$_pisaura_C" && rm -rf armed revert heal out ready word left inducing induced watcher reverting turn touched && rm -f watch
    ) </dev/null >/dev/null 2>&1 &
fi
