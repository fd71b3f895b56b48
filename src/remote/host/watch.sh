# watch.sh: the dead man's switch. Sleeps until its time is up, and heals the host unless somebody has disarmed it. It hears of
# that by a word in a file that it holds open, so that it knows even when a failure has taken its folder away. Needs /bin/sh, sleep
# and the like, and no clock that can be set.
# shellcheck disable=SC2317,SC3049
# A process that cannot be begun ends a shell, whatever it was for. Then it begins anew, in the same process and with what it holds
# open, as often as that takes.
_pisaura_v=$$
_pisaura_done=
_pisaura_go() {
    _pisaura_done=1
    exit 0
}
_pisaura_anew() {
    [ -z "$_pisaura_done" ] || return 0
    export _pisaura_tries
    if [ "${_pisaura_again-}" != 1 ]; then
        export _pisaura_again=1
        # Until there is room again it tries all the time, for it cannot sleep. Its second argument is what it is known by.
        ! command -v nice >/dev/null 2>&1 || exec nice -n 19 /bin/sh "/proc/$$/fd/7" "$_pisaura_C/watch"
    fi
    exec /bin/sh "/proc/$$/fd/7" "$_pisaura_C/watch"
}
if [ "${_pisaura_again-}" != 1 ]; then
    _pisaura_tries=0
    cd "$_pisaura_C" || exit 0
    exec 3<orders || exit 0
    # Who has armed, and induces: where the failure takes its word away, this is all that tells of it.
    exec 6<"$_pisaura_F/.arming-$_pisaura_M" || exit 0
    exec 7<watch || exit 0
    exec </dev/null >/dev/null 2>&1
fi
trap _pisaura_anew EXIT
_pisaura_start $$
_pisaura_put watcher "$$ $_pisaura_r" || [ "${_pisaura_again-}" = 1 ] || _pisaura_go
_pisaura_signal=0
trap '' HUP
# No signal to our group ends us, but for those that nobody can catch.
for _pisaura_x in 2 3 4 5 6 7 8 10 11 12 13 14 15 16 24 25 26 27 29 30 31 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64; do
    command trap '_pisaura_signal=1' $_pisaura_x 2>/dev/null || :
done
# By this one we are told that the try at work is ended by others.
_pisaura_is_ended=
command trap '_pisaura_is_ended=1' USR2 2>/dev/null || :

# Sleeps for $1 seconds, or until a signal comes; answers with how that ended.
_pisaura_doze() {
    sleep "$1" &
    _pisaura_z=$!
    _pisaura_start $_pisaura_z
    _pisaura_t=$_pisaura_r
    wait $_pisaura_z
    _pisaura_s=$?
    # Where it is over, its number may be another's.
    if _pisaura_lives $_pisaura_z "$_pisaura_t"; then kill $_pisaura_z 2>/dev/null; fi
    return $_pisaura_s
}

# Whether it still is to heal, by the word in the file of orders, gone or not. What cannot be read, or does not answer, is no order.
# Where there is no /proc, the open file can be read but once.
_pisaura_last=- _pisaura_frozen=
_pisaura_read_orders() {
    _pisaura_r=-
    { read -r _pisaura_r _ <"/proc/$$/fd/3"; } 2>/dev/null || { read -r _pisaura_r _ <orders; } 2>/dev/null || {
        [ "$_pisaura_last" != - ] || read -r _pisaura_last _ <&3
        _pisaura_r=$_pisaura_last
    }
    # One that is ended while it looks has seen nothing.
    case $_pisaura_r in over | stop) return 9 ;; esac
    return 0
}
_pisaura_ordered() {
    _pisaura_o=0
    if [ -d /proc/self/fd ]; then _pisaura_briefly _pisaura_read_orders; else _pisaura_read_orders; fi || _pisaura_o=$?
    [ $_pisaura_o != 9 ]
}

# Whether a shell's reverter is at work. It is let finish.
_pisaura_busy() {
    _pisaura_get reverting
    [ $_pisaura_n -lt "$_pisaura_P" ] && _pisaura_lives "$_pisaura_r" "${_pisaura_q%% *}"
}

# Does $1 within 5 seconds, or goes on without: the home's file system may not answer any more, which is no reason not to heal. What
# was begun is not to be done later, when it answers again.
_pisaura_briefly() {
    [ -z "$_pisaura_frozen" ] || return 0
    "$@" &
    _pisaura_brief=$!
    _pisaura_waited=0
    while kill -0 $_pisaura_brief 2>/dev/null; do
        [ $_pisaura_waited -lt 500 ] || { _pisaura_frozen=1; kill -KILL $_pisaura_brief 2>/dev/null; return 0; }
        # It mostly is over by then.
        if [ $_pisaura_waited -lt 10 ]; then sleep 0.01; else sleep 0.1 && _pisaura_waited=$((_pisaura_waited + 9)); fi || { sleep 1; _pisaura_waited=$((_pisaura_waited + 99)); }
        _pisaura_waited=$((_pisaura_waited + 1))
    done
    wait $_pisaura_brief
}
_pisaura_word() { _pisaura_briefly _pisaura_put word "$1"; }

# What heals is kept too: the text that runs the reverter, all of it, which this file began with, and the reverter itself if it is a
# file of the book's.
if [ "${_pisaura_again-}" != 1 ]; then
    case $_pisaura_text in '{'*'}') ;; *) _pisaura_go ;; esac
    if [ -n "$_pisaura_B" ]; then exec 4<"$_pisaura_F/$_pisaura_B" || _pisaura_go; fi
    { read -r _; read -r _; read -r _pisaura_a; } <facts
    export _pisaura_a
fi
# A copy in memory can be read where the home does not answer. It cannot hold all that a file can.
_pisaura_memory=
[ -z "$_pisaura_B" ] || _pisaura_memory=$(cat "/proc/$$/fd/4" 2>/dev/null && printf x) || _pisaura_memory=
[ -z "$_pisaura_memory" ] || printf %s "${_pisaura_memory%x}" | cmp -s - "/proc/$$/fd/4" || [ $? != 1 ] || _pisaura_memory=
# A copy without a name cannot be written over, either; but while it is open its file system cannot be made read-only.
if [ "${_pisaura_again-}" != 1 ] && [ -n "$_pisaura_B" ] && [ -z "$_pisaura_memory" ] && cat "$_pisaura_F/$_pisaura_B" >kept; then exec 5<kept; fi
_pisaura_kept=5
[ -z "$_pisaura_memory" ] || _pisaura_kept=m
if [ "${_pisaura_again-}" != 1 ]; then
    # From here on nothing of the folder is needed, and the host may be broken. Nothing new comes there either: it would be in the way
    # of a failure that takes the folder away.
    _pisaura_put ready yes || _pisaura_go
    rm -f kept
fi

# How much of its time is left, in $_pisaura_left.
_pisaura_tell_left() {
    _pisaura_now
    case $_pisaura_r$_pisaura_a in
    *[!0-9]*) ;;
    *) _pisaura_left=$((_pisaura_deadline - (_pisaura_r - _pisaura_a) / 100)) ;;
    esac
}
_pisaura_left=$_pisaura_deadline _pisaura_quick=0
[ "${_pisaura_again-}" != 1 ] || _pisaura_tell_left
while [ "$_pisaura_left" -gt 0 ]; do
    _pisaura_doze "$_pisaura_left" && _pisaura_s=0 || _pisaura_s=1
    _pisaura_frozen=
    _pisaura_ordered || _pisaura_go
    [ $_pisaura_s != 0 ] || break
    # Somebody has ended the sleep, or sent us a signal: that does not make our time shorter.
    _pisaura_tell_left
    # Where there is no way to sleep any more, it is better to heal too early than never.
    _pisaura_quick=$((_pisaura_quick + 1))
    [ $_pisaura_quick -lt 1000 ] || break
done

# It fires. Who reverts over SSH, or by hand, sees that by the token.
_pisaura_take() {
    # Where the case's folder is gone it is made again, if that can be: whoever reverts must see who has healed the host, and when.
    if [ ! -e "$_pisaura_C/facts" ]; then
        (
            umask 077
            mkdir -p "$_pisaura_C" && printf '%s\n' "$_pisaura_M" "$_pisaura_I" "$_pisaura_a" "${HOME:-/}" >"$_pisaura_C/facts"
        ) 2>/dev/null
        _pisaura_start $$
        _pisaura_put watcher "$$ $_pisaura_r"
    fi
    rmdir armed 2>/dev/null
    _pisaura_touch watcher
    _pisaura_now
    _pisaura_put word "running $_pisaura_r"
    # An inducer that has not begun yet does not begin any more.
    _pisaura_get orders
    [ "$_pisaura_r" != armed ] || _pisaura_put orders reverting
}
_pisaura_answers() {
    _pisaura_get orders
    _pisaura_put word -
}
_pisaura_frozen=
_pisaura_briefly _pisaura_answers
_pisaura_n=0 _pisaura_has=
while [ -z "$_pisaura_frozen" ]; do
    while _pisaura_busy; do
        sleep 1
        _pisaura_n=$((_pisaura_n + 1))
    done
    _pisaura_ordered || _pisaura_go
    # Whoever has healed it meanwhile has given the order before we wrote over it.
    if _pisaura_is_said_healed; then
        _pisaura_put orders over
        _pisaura_go
    fi
    [ -z "$_pisaura_has" ] || break
    _pisaura_briefly _pisaura_take
    _pisaura_has=1
done

_pisaura_fired=unknown
_pisaura_now
case $_pisaura_r$_pisaura_a in
*[!0-9]*) ;;
*) _pisaura_fired=$((_pisaura_r - _pisaura_a)) ;;
esac
# A shell whose reverter has had its time is ended before that is: it would take what was ended for what has ended well.
_pisaura_end_shell() {
    _pisaura_get reverting
    if _pisaura_lives "$_pisaura_r" "${_pisaura_q%% *}"; then
        _pisaura_get reverting
        kill -KILL "$_pisaura_r" 2>/dev/null
    fi
    return 0
}
[ -n "$_pisaura_frozen" ] || _pisaura_end_shell
# An inducer that is still at work would break the host again once it is healed.
_pisaura_still=
[ -n "$_pisaura_frozen" ] || _pisaura_end_all same || _pisaura_still=1
# What a failure has taken away, or changed, is there again from what was kept; its own text tells whether it is whole.
_pisaura_give() {
    case $_pisaura_kept in
    m) printf %s "${_pisaura_memory%x}" ;;
    *) cat "/proc/$1/fd/$_pisaura_kept" 2>/dev/null || cat <&"$_pisaura_kept" ;;
    esac
}
_pisaura_restore() {
    [ -O "$_pisaura_F" ] && [ ! -h "$_pisaura_F" ] || [ ! -e "$_pisaura_F" ] || return 1
    [ -x "$_pisaura_F/$_pisaura_B" ] && _pisaura_give "$1" | cmp -s - "$_pisaura_F/$_pisaura_B" && return 0
    (
        umask 077
        _pisaura_x=$_pisaura_F/$_pisaura_B
        cd / && mkdir -p "${_pisaura_x%/*}" && rm -f "$_pisaura_F/.in-watch" && _pisaura_give "$1" >"$_pisaura_F/.in-watch" &&
            chmod 0755 "$_pisaura_F/.in-watch" && mv -f "$_pisaura_F/.in-watch" "$_pisaura_F/$_pisaura_B"
    ) 2>/dev/null
}
# Where the folder cannot be written to any more, or does not answer, the reverter is run from another one: in $_pisaura_told, the text
# that does that.
_pisaura_elsewhere() {
    _pisaura_told=$_pisaura_text
    if [ ! -x "${_pisaura_aside-}/$_pisaura_B" ] || ! _pisaura_give $$ | cmp -s - "$_pisaura_aside/$_pisaura_B"; then
        for _pisaura_x in /var/tmp /tmp /dev/shm /run; do
            _pisaura_aside=$(umask 077 && mktemp -d "$_pisaura_x/.pisaura-heal.XXXXXX" 2>/dev/null) || continue
            _pisaura_y=$_pisaura_aside/$_pisaura_B
            mkdir -p "${_pisaura_y%/*}" && printf '#!/bin/sh\nexit 0\n' >"$_pisaura_y" && chmod 0700 "$_pisaura_y" && (cd / && exec "$_pisaura_y") &&
                _pisaura_give $$ >"$_pisaura_y" && break
            rm -rf "${_pisaura_aside:?}"
            _pisaura_aside=
        done
    fi
    [ -n "${_pisaura_aside-}" ] || return 0
    # The folder's name is random: wherever it stands, the folder is meant.
    _pisaura_told='' _pisaura_y=$_pisaura_text
    while :; do
        case $_pisaura_y in *"$_pisaura_F/$_pisaura_B"*) ;; *) break ;; esac
        _pisaura_told=$_pisaura_told${_pisaura_y%%"$_pisaura_F/$_pisaura_B"*}$_pisaura_aside/$_pisaura_B
        _pisaura_y=${_pisaura_y#*"$_pisaura_F/$_pisaura_B"}
    done
    _pisaura_told=$_pisaura_told$_pisaura_y
}
_pisaura_tell_healed() {
    _pisaura_put healed "$_pisaura_fired watcher"
    _pisaura_put word 0
    _pisaura_put orders over
}
# One try at the reverter. What it prints goes to a file, but for every second try: a full disk is no reason to fail.
_pisaura_try() {
    if [ -z "$_pisaura_frozen" ]; then
        if [ $((_pisaura_tries % 2)) = 0 ] && { printf '' >out; } 2>/dev/null; then exec >>out; fi
        cd "$HOME" 2>/dev/null || cd /
    else
        # Nor can be read how much of it was begun.
        export _pisaura_every=1
        cd /
    fi
    exec 3<&- 4<&- 5<&- 6<&- 7<&- 2>&1
    unset _pisaura_again _pisaura_a _pisaura_tries
    export PISAURA_BY="$$:$_pisaura_own"
    # A shell has what it runs behind it ignore these, and services that a reverter starts would do so for ever.
    printf '%s\n' "$_pisaura_told" | _pisaura_run
}
# It is tried as a run would: again and again, each time within its limit, unless somebody says that it is to stop.
_pisaura_pause=1 _pisaura_default=
if env --default-signal=INT,QUIT true 2>/dev/null; then _pisaura_default="env --default-signal=INT,QUIT"; fi
_pisaura_start $$
_pisaura_own=$_pisaura_r
while [ $_pisaura_tries -lt "$_pisaura_K" ]; do
    # Where the home answers again, whoever induces is told that it is over.
    _pisaura_thawed=
    if [ -n "$_pisaura_frozen" ]; then
        _pisaura_frozen=
        _pisaura_briefly _pisaura_take
        [ -n "$_pisaura_frozen" ] || _pisaura_thawed=1
    fi
    # Each says that it begins before it looks whether another does.
    _pisaura_n=0
    while :; do
        _pisaura_now
        _pisaura_word "running $_pisaura_r"
        [ -z "$_pisaura_frozen" ] && _pisaura_busy || break
        _pisaura_word "waits -"
        sleep 1
        _pisaura_n=$((_pisaura_n + 1))
        _pisaura_ordered || _pisaura_go
    done
    # And he is ended, before a try counts; but not a shell's reverter, which was let finish.
    if [ -n "$_pisaura_thawed" ] && [ -z "$_pisaura_frozen" ]; then
        _pisaura_end_shell
        if _pisaura_end_all same; then _pisaura_still=; else _pisaura_still=1; fi
    fi
    # A signal may have stopped us here for a long time.
    if [ -z "$_pisaura_frozen" ]; then
        _pisaura_ordered || _pisaura_go
        ! _pisaura_is_said_healed || _pisaura_go
    fi
    _pisaura_told=$_pisaura_text
    if [ -n "$_pisaura_B" ]; then
        if ! _pisaura_briefly _pisaura_restore $$ || [ -n "$_pisaura_frozen" ]; then _pisaura_elsewhere; fi
        # Another copy next time: one of them may have been changed before it was kept.
        case $_pisaura_kept in
        # While the home does not answer no other can be read.
        m) [ -n "$_pisaura_frozen" ] || _pisaura_kept=5 ;;
        5) _pisaura_kept=4 ;;
        *) if [ -n "$_pisaura_memory" ]; then _pisaura_kept=m; else _pisaura_kept=5; fi ;;
        esac
        [ "$_pisaura_kept" != 5 ] || [ -e "/proc/$$/fd/5" ] || _pisaura_kept=4
    fi
    _pisaura_is_ended=
    (_pisaura_try) &
    _pisaura_z=$!
    _pisaura_start $_pisaura_z
    _pisaura_since=$_pisaura_r
    _pisaura_n=0 _pisaura_late=
    while kill -0 $_pisaura_z 2>/dev/null; do
        # Whoever says so ends what is left of it, once we are gone.
        _pisaura_ordered || { kill -TERM $_pisaura_z 2>/dev/null; _pisaura_go; }
        if [ $_pisaura_n -lt 10 ]; then sleep 0.1 || sleep 1; else sleep 1; fi
        _pisaura_n=$((_pisaura_n + 1))
        if [ $_pisaura_n -ge $((_pisaura_P + 10)) ]; then
            _pisaura_end_marked
            _pisaura_late=limit
            # Whoever waits for what cannot be ended would never try again.
            _pisaura_lives $_pisaura_z "$_pisaura_since" && kill -KILL $_pisaura_z 2>/dev/null
            sleep 0.1 || sleep 1
            break
        fi
    done
    _pisaura_s=1
    [ -n "$_pisaura_late" ] && _pisaura_lives $_pisaura_z "$_pisaura_since" || { wait $_pisaura_z; _pisaura_s=$?; }
    # What others have ended may say what it likes.
    [ -z "$_pisaura_is_ended" ] || [ $_pisaura_s != 0 ] || _pisaura_s=124
    if [ -z "$_pisaura_late" ] && [ $_pisaura_s = 0 ]; then
        # One that could not be ended, and goes on breaking the host, is no healed host.
        if [ -n "$_pisaura_still" ]; then
            _pisaura_end_all same && _pisaura_still=
            _pisaura_s=124
        fi
        # Whoever induces was not told, and may begin, or go on, once the home answers: it is reverted again then.
        [ -z "$_pisaura_frozen" ] || _pisaura_s=124
    fi
    if [ -z "$_pisaura_late" ] && [ $_pisaura_s = 0 ]; then
        # What it has left running in our session might heal in a later case.
        _pisaura_session $$
        _pisaura_end_marked "$_pisaura_r"
        _pisaura_briefly _pisaura_tell_healed
        [ -z "$_pisaura_frozen" ] || _pisaura_go
        _pisaura_free
        [ -z "${_pisaura_aside-}" ] || rm -rf "$_pisaura_aside"
        _pisaura_go
    fi
    _pisaura_word "${_pisaura_late:-$_pisaura_s}"
    _pisaura_tries=$((_pisaura_tries + 1))
    [ $_pisaura_tries -lt "$_pisaura_K" ] || break
    # A signal wakes us, so that whoever says stop need not wait.
    _pisaura_doze $_pisaura_pause
    [ $_pisaura_pause -ge 16 ] || _pisaura_pause=$((_pisaura_pause * 2))
done
_pisaura_go
