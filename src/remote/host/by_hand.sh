# by_hand.sh: what `heal` in a case's folder says to a person.
# Another user's shell would heal another home, or nothing.
[ ! -e "$_pisaura_C" ] || [ -O "$_pisaura_C" ] || {
    echo "not healed: it is for the user to run this whose folder it is: $(ls -ld "$_pisaura_C" 2>&1)" >&2
    exit 1
}
_pisaura_x=
{ read -r _ && read -r _ && read -r _ && IFS= read -r _pisaura_x; } 2>/dev/null <"$_pisaura_C/facts" || :
[ -z "$_pisaura_x" ] || export HOME="$_pisaura_x"
_pisaura_identify
_pisaura_I=$_pisaura_r
_pisaura_tell() {
    case $1 in
    m2) 
        echo "not healed: this is not the machine that was broken ($_pisaura_i), but another one ($_pisaura_I)" >&2
        exit 1
        ;;
    m[13])
        echo "not healed: what was left in $_pisaura_C is gone, so nobody knows whether this is the machine that was broken" >&2
        exit 1
        ;;
    waits) echo "a reverter is at work: it is waited for, for at most $_pisaura_P s" >&2 ;;
    w) echo "the dead man's switch had healed it" >&2 ;;
    o) echo "it was healed before" >&2 ;;
    n) echo "$2 processes that were left running were ended" >&2 ;;
    k) echo "processes that the reverter has left running were ended ($2): a service that it starts needs a session of its own (a service manager, or setsid)" >&2 ;;
    esac
}
_pisaura_command() {
    # Whoever ends us has ended the reverter, too, which may say then that it has succeeded.
    _pisaura_was_ended=0
    trap '_pisaura_was_ended=129' HUP
    trap '_pisaura_was_ended=130' INT
    trap '_pisaura_was_ended=131' QUIT
    trap '_pisaura_was_ended=143' TERM
    trap '_pisaura_was_ended=124' USR2
    # It runs in front, as whoever waits for it expects; who ends it when it takes too long, behind.
    _pisaura_start $$
    _pisaura_own=$_pisaura_r
    (
        _pisaura_n=0
        while [ $_pisaura_n -lt "$_pisaura_P" ]; do
            sleep 1
            _pisaura_n=$((_pisaura_n + 1))
            # Who takes over from one that is gone has limits of his own.
            if [ "$_pisaura_own" = - ]; then kill -0 $$ 2>/dev/null || exit 0; else _pisaura_lives $$ "$_pisaura_own" || exit 0; fi
        done
        echo "the reverter took longer than its time limit, and is ended" >&2
        kill -USR2 $$
        _pisaura_end_marked || :
    ) </dev/null >/dev/null &
    _pisaura_t=$! _pisaura_s=0
    _pisaura_now
    _pisaura_j=$_pisaura_r
    (cd "$HOME" 2>/dev/null || :; _pisaura_run) <"$_pisaura_C/revert" || _pisaura_s=$?
    kill $_pisaura_t 2>/dev/null || :
    _pisaura_now
    case $_pisaura_r$_pisaura_j in
    *[!0-9]*) ;;
    *) [ $((_pisaura_r - _pisaura_j)) -lt $((_pisaura_P * 100 - 50)) ] || _pisaura_s=124 ;;
    esac
    trap - HUP INT QUIT TERM USR2
    [ $_pisaura_s != 0 ] || _pisaura_s=$_pisaura_was_ended
    return $_pisaura_s
}
