# at_work.sh: what scripts of the case have begun and that is still at work, and how it is ended. A number alone proves nothing: a
# process is ours if it bears the case's mark, or if it is of the inducer's session, and that session is known to be the same one.

# Those of the processes $@ that are not among $_pisaura_all, in $_pisaura_come. Both are in the same order.
_pisaura_arrived() {
    _pisaura_come='' _pisaura_rest="$_pisaura_all "
    for _pisaura_x; do
        case $_pisaura_rest in
        "$_pisaura_x "*) _pisaura_rest=${_pisaura_rest#"$_pisaura_x "} ;;
        *" $_pisaura_x "*) _pisaura_rest=${_pisaura_rest#*" $_pisaura_x "} ;;
        *) _pisaura_come="$_pisaura_come $_pisaura_x" ;;
        esac
    done
}

# The same for each of these files alone, where one of them hangs: what the others show is known then. In $_pisaura_y.
_pisaura_search_each() {
    _pisaura_y='' _pisaura_hung=0
    for _pisaura_x; do
        [ $_pisaura_hung -lt 5 ] || return 0
        PISAURA_MARK='' LC_ALL=C timeout 1 grep -qsE "PISAURA_MARK=$_pisaura_M|[)] (Z|[^X ] [0-9]+ [0-9]+ $_pisaura_only) " "$_pisaura_x" 2>/dev/null && _pisaura_y="$_pisaura_y $_pisaura_x" || case $? in 124 | 137 | 143) _pisaura_hung=$((_pisaura_hung + 1)) ;; esac
    done
}

# Looks once. Those that bear the mark are in $_pisaura_marked, and those of session $1, if it is named, in $_pisaura_members, each
# with when it was started. One that begins another and ends may be seen in neither, so whoever has come meanwhile is looked at, too, as
# long as somebody comes, at most five times, or less by $2. Where they cannot be looked for, $_pisaura_blind says so.
_pisaura_look() {
    _pisaura_only=${1:--} _pisaura_turns=${2:-0} _pisaura_blind=
    _pisaura_marked='' _pisaura_members=''
    set -- /proc/[0-9]*
    _pisaura_all=$*
    set -- /proc/[0-9]*/environ /proc/[0-9]*/stat
    while :; do
        if [ -r /proc/self/environ ]; then
            # That some cannot be read is told by a 2, as by what others have begun; what is more was not looked at.
            _pisaura_y=$(_pisaura_search -lsE "PISAURA_MARK=$_pisaura_M|[)] (Z|[^X ] [0-9]+ [0-9]+ $_pisaura_only) " "$@" 2>/dev/null) || case $? in
            1 | 2) ;;
            124 | 137 | 143) _pisaura_blind=1 && _pisaura_search_each "$@" ;;
            *) _pisaura_blind=1 ;;
            esac
        else
            _pisaura_y=$(PISAURA_MARK='' ps axeww -o pid= -o command= 2>/dev/null) || _pisaura_blind=1
            _pisaura_y=$(printf '%s\n' "$_pisaura_y" | LC_ALL=C sed -n "s|^ *\([0-9]*\) .*PISAURA_MARK=$_pisaura_M.*|\1/environ|p") || _pisaura_blind=1
        fi
        for _pisaura_x in $_pisaura_y; do
            _pisaura_c=${_pisaura_x#/proc/}
            _pisaura_z=${_pisaura_c#*/} _pisaura_c=${_pisaura_c%/*}
            [ "$_pisaura_c" != $$ ] || continue
            if [ "$_pisaura_z" = environ ]; then _pisaura_marked="$_pisaura_marked $_pisaura_c" && continue; fi
            _pisaura_start "$_pisaura_c"
            if [ "$_pisaura_r" = - ]; then
                continue
            elif [ "$_pisaura_session" = "$_pisaura_only" ]; then
                _pisaura_members="$_pisaura_members $_pisaura_c:$_pisaura_r"
            elif _pisaura_search -qs "PISAURA_MARK=$_pisaura_M" "/proc/$_pisaura_c/task"/*/environ; then
                # Its first thread has ended, and others are at work.
                _pisaura_marked="$_pisaura_marked $_pisaura_c"
            fi
        done
        _pisaura_turns=$((_pisaura_turns + 1))
        # Nor is it looked again where nobody can look: each time may take its whole time.
        [ -z "$_pisaura_marked$_pisaura_members$_pisaura_blind" ] && [ $_pisaura_turns -lt 5 ] || return 0
        set -- /proc/[0-9]*
        _pisaura_arrived "$@"
        [ -n "$_pisaura_come" ] || return 0
        _pisaura_all=$*
        set --
        for _pisaura_x in $_pisaura_come; do set -- "$@" "$_pisaura_x/environ" "$_pisaura_x/stat"; done
    done
}

# Whose shell runs the inducer, or did: $_pisaura_p, started at $_pisaura_q, of session $_pisaura_sid. $_pisaura_unsure, if nothing
# tells: unless its run has seen its end, it may be at work.
_pisaura_who() {
    _pisaura_p=- _pisaura_q=- _pisaura_sid=- _pisaura_unsure=
    { read -r _pisaura_p _pisaura_q _pisaura_sid _ <"$_pisaura_F/.arming-$_pisaura_M"; } 2>/dev/null || :
    case ${_pisaura_p:--} in *[!0-9]*)
        # Where a failure has taken the word away, the watcher has it open.
        _pisaura_get watcher
        [ -z "${_pisaura_v-}" ] || _pisaura_r=${_pisaura_v%% *}
        { read -r _pisaura_p _pisaura_q _pisaura_sid _ <"/proc/$_pisaura_r/fd/6"; } 2>/dev/null || :
        ;;
    esac
    case ${_pisaura_p:--} in *[!0-9]*)
        _pisaura_p=- _pisaura_q=- _pisaura_sid=-
        { read -r _pisaura_p _pisaura_q _ <"$_pisaura_C/inducing"; } 2>/dev/null && [ -n "$_pisaura_p" ] || _pisaura_unsure=1
        [ "${_pisaura_over:-1}" = 0 ] || _pisaura_unsure=
        case ${_pisaura_p:--} in *[!0-9]*) _pisaura_p=- ;; esac
        ;;
    esac
    case ${_pisaura_sid:--} in *[!0-9]*) _pisaura_sid=- ;; esac
}

# Tells those who wait for one of these in $_pisaura_h that it is ended, before it is: a reverter may say then that it has succeeded. A
# shell is ended; the watcher, which goes on, gets a signal of its own. Other users of the host may have forged what a process bears, so
# only what is a shell of ours by its own words is signalled.
_pisaura_tell_waiters() {
    _pisaura_said=${_pisaura_r-}
    for _pisaura_c in $_pisaura_h; do
        _pisaura_y=$(tr '\000' '\n' 2>/dev/null <"/proc/$_pisaura_c/environ" | sed -n 's/^PISAURA_BY=\([0-9]*:[0-9]*\)$/\1/p') || :
        for _pisaura_y in $_pisaura_y; do
            [ "${_pisaura_y%:*}" != $$ ] && _pisaura_lives "${_pisaura_y%:*}" "${_pisaura_y#*:}" || continue
            [ -O "/proc/${_pisaura_y%:*}" ] || continue
            case $(tr '\000' ' ' 2>/dev/null <"/proc/${_pisaura_y%:*}/cmdline") in
            *"/.case-$_pisaura_M/watch ") kill -USR2 "${_pisaura_y%:*}" 2>/dev/null || : ;;
            *_pisaura_l=1* | *"/heal "* | *" heal "*) kill -KILL "${_pisaura_y%:*}" 2>/dev/null || : ;;
            esac
        done
    done
    _pisaura_r=$_pisaura_said
}

# Asks those in $_pisaura_h to end, and kills them from the twentieth look on.
_pisaura_ask_to_end() {
    [ $_pisaura_k != 0 ] || _pisaura_tell_waiters
    # shellcheck disable=SC2086
    if [ $_pisaura_k -lt 20 ]; then kill -TERM $_pisaura_h 2>/dev/null || :; else kill -KILL $_pisaura_h 2>/dev/null || :; fi
}

# Waits for the next look, a tenth of a second; fails once there were enough of them.
_pisaura_go_on_waiting() {
    [ $_pisaura_k -lt 30 ] || return 1
    sleep 0.1 2>/dev/null || sleep 1
    _pisaura_k=$((_pisaura_k + 1))
}

# Ends all that scripts of the case have begun and that is at work, but for this shell, the watcher, and what that has begun. $1 is
# same if the machine was not started anew since. Asked to end first, killed two seconds later. How many were found that an inducer
# has left that is over: $_pisaura_r. Fails if something stays, or if it cannot be known.
_pisaura_end_all() {
    _pisaura_count=0
    [ "$1" = same ] || { _pisaura_r=0; return 0; }
    _pisaura_get left
    _pisaura_holder=${_pisaura_q%% *}
    _pisaura_get watcher
    _pisaura_w=" $_pisaura_r ${_pisaura_v-} "
    _pisaura_who
    _pisaura_k=0 _pisaura_e=
    while :; do
        _pisaura_h='' _pisaura_u=''
        # A session's number is given to no other while anybody of it lives: its first process, or one that stays for that.
        _pisaura_look_at "$_pisaura_p"
        _pisaura_leader=$_pisaura_r
        if [ "$_pisaura_r" = - ] && [ "$_pisaura_p" != - ] && [ ! -r /proc/self/stat ]; then
            # Where nobody tells when a process was started, nobody is signalled; but one of that number may be it.
            if kill -0 "$_pisaura_p" 2>/dev/null; then _pisaura_u=1; fi
        fi
        _pisaura_proof=
        if [ "$_pisaura_leader" = "$_pisaura_q" ] || _pisaura_lives "${_pisaura_holder%:*}" "${_pisaura_holder#*:}"; then _pisaura_proof=1; fi
        # Where the number of the session's first process is another's by now, so is the session's.
        case $_pisaura_leader:$_pisaura_sid in -:* | "$_pisaura_q":* | *:-) _pisaura_look "$_pisaura_sid" ;; *:"$_pisaura_p") _pisaura_look ;; *) _pisaura_look "$_pisaura_sid" ;; esac
        _pisaura_h=$_pisaura_marked
        if [ $_pisaura_k = 0 ] && ! _pisaura_lives "$_pisaura_p" "$_pisaura_q"; then
            for _pisaura_c in $_pisaura_marked; do _pisaura_count=$((_pisaura_count + 1)); done
        fi
        for _pisaura_c in $_pisaura_members; do
            _pisaura_look_at "${_pisaura_c%:*}"
            case $_pisaura_w in *" ${_pisaura_c%:*} "* | *" $_pisaura_parent "*) _pisaura_w="$_pisaura_w${_pisaura_c%:*} " && continue ;; esac
            if [ -n "$_pisaura_proof" ]; then _pisaura_h="$_pisaura_h ${_pisaura_c%:*}"; else _pisaura_u=1; fi
        done
        if [ "$_pisaura_p" != $$ ] && _pisaura_lives "$_pisaura_p" "$_pisaura_q"; then _pisaura_h="$_pisaura_h $_pisaura_p"; fi
        [ $_pisaura_k != 0 ] || [ -z "$_pisaura_h" ] || _pisaura_descend
        for _pisaura_c in $_pisaura_e; do
            if _pisaura_lives "${_pisaura_c%:*}" "${_pisaura_c#*:}"; then _pisaura_h="$_pisaura_h ${_pisaura_c%:*}"; fi
        done
        _pisaura_r=$_pisaura_count
        if [ -z "$_pisaura_h" ]; then
            # One that nobody may end may be about to, as whoever looks what an inducer has left.
            [ -n "$_pisaura_u" ] && [ $_pisaura_k -lt 15 ] || break
        else
            _pisaura_ask_to_end
        fi
        _pisaura_go_on_waiting || return 1
        _pisaura_get left
        _pisaura_holder=${_pisaura_q%% *}
    done
    [ -z "$_pisaura_u$_pisaura_blind$_pisaura_unsure" ]
}

# What those in $_pisaura_h have begun, with when it was started, in $_pisaura_e: some show no mark, and are of no session of theirs.
_pisaura_descend() {
    for _pisaura_c in $_pisaura_h; do
        _pisaura_start "$_pisaura_c"
        _pisaura_e="$_pisaura_e $_pisaura_c:$_pisaura_r"
    done
    _pisaura_e="$_pisaura_e "
    # As often as it grows: a child's number may be smaller than its parent's.
    _pisaura_grown=
    while [ "$_pisaura_grown" != "$_pisaura_e" ]; do
        _pisaura_grown=$_pisaura_e
        for _pisaura_c in /proc/[0-9]*; do
            _pisaura_c=${_pisaura_c#/proc/}
            case $_pisaura_e in *" $_pisaura_c:"*) continue ;; esac
            case $_pisaura_w in *" $_pisaura_c "*) continue ;; esac
            [ "$_pisaura_c" != $$ ] || continue
            _pisaura_start "$_pisaura_c"
            case $_pisaura_w in *" $_pisaura_parent "*) _pisaura_w="$_pisaura_w$_pisaura_c " && continue ;; esac
            case $_pisaura_e in *" $_pisaura_parent:"*) _pisaura_e="$_pisaura_e$_pisaura_c:$_pisaura_r " ;; esac
        done
    done
}

# Ends the processes that bear the case's mark; with an argument, only those of that session; or those alone that the shell in
# $_pisaura_by has begun. Adds to $_pisaura_ended how many were found.
# Fails if one stays, or if they cannot be looked for.
_pisaura_end_marked() {
    _pisaura_k=0 _pisaura_session_only=${1-}
    while :; do
        # What stays in a session of ours has no other place to hide in.
        if [ -n "$_pisaura_session_only" ]; then _pisaura_look - 4; else _pisaura_look; fi
        _pisaura_h=
        for _pisaura_c in $_pisaura_marked; do
            if [ -n "$_pisaura_session_only" ]; then
                _pisaura_session "$_pisaura_c"
                [ "$_pisaura_r" = "$_pisaura_session_only" ] || continue
            fi
            [ -z "${_pisaura_by-}" ] || tr '\000' '\n' 2>/dev/null <"/proc/$_pisaura_c/environ" | grep -qx "PISAURA_BY=$_pisaura_by" || continue
            _pisaura_h="$_pisaura_h $_pisaura_c"
        done
        [ -n "$_pisaura_h" ] || break
        if [ $_pisaura_k = 0 ]; then
            for _pisaura_c in $_pisaura_h; do _pisaura_ended=$((${_pisaura_ended-0} + 1)); done
        fi
        _pisaura_ask_to_end
        _pisaura_go_on_waiting || return 1
    done
    [ -z "$_pisaura_blind" ]
}

# The session of process $1, if it has not ended.
_pisaura_session() {
    _pisaura_start "$1"
    [ "$_pisaura_r" = - ] || _pisaura_r=$_pisaura_session
}
