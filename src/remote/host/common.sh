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

# The same, and whether it is there now: a disk may take a word and lose it, or not take it at all.
_pisaura_put_down() {
    _pisaura_put "$1" "$2" || return 1
    _pisaura_get "$1"
    [ "$_pisaura_r" = "${2%% *}" ]
}

# Reads the first two words of file $1 of the case's folder into $_pisaura_r and $_pisaura_q; "-" if there is nothing.
_pisaura_get() {
    _pisaura_r=- _pisaura_q=-
    { read -r _pisaura_r _pisaura_q <"$_pisaura_C/$1"; } 2>/dev/null || :
    _pisaura_r=${_pisaura_r:--} _pisaura_q=${_pisaura_q:--}
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

# The processes that carry the case's mark in their environment: they were begun by its inducer, verify or reverter. With an
# argument, only those of that session. Whether they could not be looked for is in $_pisaura_blind.
_pisaura_marked() {
    _pisaura_blind=
    # That some cannot be read is told by a 2, as by what others have begun; what is more was not looked at.
    _pisaura_y=$(PISAURA_MARK='' grep -ls "PISAURA_MARK=$_pisaura_M" /proc/[0-9]*/environ 2>/dev/null) || [ $? -le 2 ] || _pisaura_blind=1
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

# The session of process $1, if it has not ended.
_pisaura_session() {
    _pisaura_look_at "$1"
    _pisaura_r=$_pisaura_session
    case $_pisaura_state in [ZX]) _pisaura_r=- ;; esac
}

# Ends an inducer that is still at work, whose shell may have lost its connection: that shell, what is of its session, and what it
# has begun, for some servers give no command a session of its own; but not the watcher, which that shell has begun, too. $1 is same
# if the machine was not started anew since. Fails if something of it stays, or if it cannot be known whether it is over.
_pisaura_end_inducer() {
    [ "$1" = same ] || return 0
    # Where the case's folder is gone, or a failure has written over the word, it is the shell that armed.
    if ! { read -r _pisaura_p _pisaura_q <"$_pisaura_C/inducing"; } 2>/dev/null || [ -z "$_pisaura_p" ]; then
        _pisaura_p=- _pisaura_q=-
        { read -r _pisaura_p _pisaura_q <"$_pisaura_F/.arming-$_pisaura_M"; } 2>/dev/null || :
        [ "${_pisaura_p:--}" != - ] || { _pisaura_p=${_pisaura_shell:--} _pisaura_q=${_pisaura_shell-} && _pisaura_q=${_pisaura_q#* }; }
        # What its run has seen the end of is over, whatever is left here.
        [ "$_pisaura_p" != - ] || [ "${_pisaura_over:-1}" = 1 ] || return 1
    fi
    _pisaura_p=${_pisaura_p%% *} _pisaura_q=${_pisaura_q%% *}
    case $_pisaura_p in *[!0-9]* | "" | "$$") return 0 ;; esac
    # A number whose process is another one by now is nobody's. One that has ended, and is not waited for, still is its session's.
    _pisaura_look_at "$_pisaura_p"
    if [ "$_pisaura_r" = - ] || [ "$_pisaura_r" != "$_pisaura_q" ]; then
        case $_pisaura_q in *[!0-9]* | "") ;; *) return 0 ;; esac
        # Where nobody tells when a process was started, nobody is signalled; but one of that number may be it.
        if kill -0 "$_pisaura_p" 2>/dev/null; then return 1; else return 0; fi
    fi
    _pisaura_get watcher
    _pisaura_w=" $_pisaura_r "
    # Numbers with their starts: one that was given anew meanwhile is nobody's.
    _pisaura_k=0 _pisaura_e=" $_pisaura_p:$_pisaura_q "
    while :; do
        # As often as it grows: a child's number may be smaller than its parent's.
        _pisaura_h=
        while [ "$_pisaura_h" != "$_pisaura_e" ]; do
            _pisaura_h=$_pisaura_e
            for _pisaura_c in /proc/[0-9]*; do
                _pisaura_c=${_pisaura_c#/proc/}
                case $_pisaura_e in *" $_pisaura_c:"*) continue ;; esac
                case $_pisaura_w in *" $_pisaura_c "*) continue ;; esac
                [ "$_pisaura_c" != $$ ] || continue
                _pisaura_look_at "$_pisaura_c"
                case $_pisaura_w in *" $_pisaura_parent "*) _pisaura_w="$_pisaura_w$_pisaura_c " && continue ;; esac
                case $_pisaura_e in
                *" $_pisaura_parent:"*) ;;
                *) [ "$_pisaura_session" = "$_pisaura_p" ] || continue ;;
                esac
                _pisaura_e="$_pisaura_e$_pisaura_c:$_pisaura_r "
            done
        done
        _pisaura_h=
        for _pisaura_c in $_pisaura_e; do
            if _pisaura_lives "${_pisaura_c%:*}" "${_pisaura_c#*:}"; then _pisaura_h="$_pisaura_h ${_pisaura_c%:*}"; fi
        done
        [ -n "$_pisaura_h" ] || return 0
        # shellcheck disable=SC2086
        if [ $_pisaura_k -lt 20 ]; then kill -TERM $_pisaura_h 2>/dev/null || :; else kill -KILL $_pisaura_h 2>/dev/null || :; fi
        [ $_pisaura_k -lt 30 ] || return 1
        sleep 0.1 2>/dev/null || sleep 1
        _pisaura_k=$((_pisaura_k + 1))
    done
}

# Ends the processes that carry the case's mark, and answers with how many there were: 0 if nothing was left. Asked to end
# first, killed two seconds later. With an argument, only those of that session. Fails if one stays, or if they cannot be looked for.
_pisaura_end_marked() {
    _pisaura_marked "$@"
    _pisaura_e=$_pisaura_r _pisaura_n=0 _pisaura_k=0
    for _pisaura_x in $_pisaura_e; do _pisaura_k=$((_pisaura_k + 1)); done
    # shellcheck disable=SC2086
    [ -z "$_pisaura_e" ] || kill -TERM $_pisaura_e 2>/dev/null || :
    while [ -n "$_pisaura_e" ] && [ $_pisaura_n -lt 30 ]; do
        if [ $_pisaura_n != 20 ]; then sleep 0.1 2>/dev/null || sleep 1; fi
        _pisaura_n=$((_pisaura_n + 1))
        _pisaura_marked "$@"
        _pisaura_e=$_pisaura_r
        # shellcheck disable=SC2086
        [ $_pisaura_n -lt 20 ] || [ -z "$_pisaura_e" ] || kill -KILL $_pisaura_e 2>/dev/null || :
    done
    _pisaura_r=$_pisaura_k
    [ -z "$_pisaura_e$_pisaura_blind" ]
}

# What is of session $1 and bears no mark, as what runs as another user: at most three, each with when it was started.
_pisaura_unmarked() {
    _pisaura_q=
    { read -r _pisaura_h _ </proc/self/stat; } 2>/dev/null || return 0
    _pisaura_y=$(grep -lsE "^[0-9]+ [(].*[)] [^ZX ] [0-9]+ [0-9]+ $1 " /proc/[0-9]*/stat 2>/dev/null) || :
    for _pisaura_x in $_pisaura_y; do
        _pisaura_x=${_pisaura_x#/proc/}
        _pisaura_c=${_pisaura_x%/stat}
        case $_pisaura_c in "$1" | "$_pisaura_h") continue ;; esac
        case " $_pisaura_e " in *" $_pisaura_c "*) continue ;; esac
        _pisaura_start "$_pisaura_c"
        case $_pisaura_q in *:*:*:*) ;; *) [ "$_pisaura_r" = - ] || _pisaura_q="$_pisaura_q $_pisaura_c:$_pisaura_r" ;; esac
    done
}

# Ends those that $1 names with their starts. Fails if one stays.
_pisaura_end_told() {
    _pisaura_n=0
    while :; do
        _pisaura_h=
        for _pisaura_c in $1; do
            case $_pisaura_c in *:*) ;; *) continue ;; esac
            if _pisaura_lives "${_pisaura_c%:*}" "${_pisaura_c#*:}"; then _pisaura_h="$_pisaura_h ${_pisaura_c%:*}"; fi
        done
        [ -n "$_pisaura_h" ] || return 0
        # shellcheck disable=SC2086
        if [ $_pisaura_n -lt 20 ]; then kill -TERM $_pisaura_h 2>/dev/null || :; else kill -KILL $_pisaura_h 2>/dev/null || :; fi
        [ $_pisaura_n -lt 30 ] || return 1
        sleep 0.1 2>/dev/null || sleep 1
        _pisaura_n=$((_pisaura_n + 1))
    done
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
        [ -O "$_pisaura_x" ] && [ -O "${_pisaura_x%/*}" ] || continue
        if "$1" "$_pisaura_x"; then return 0; fi
    done
    return 1
}

# Frees the host, if it is this case's. Taken away in one step, into the case's folder, so that whoever frees it twice does not take
# another's.
_pisaura_free() {
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
