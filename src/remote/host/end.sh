# end.sh: ends what a command has begun, from beside it: the group of its shell, process $_pisaura_E, and what has left that group. What
# others of the case are at, as the dead man's switch, is not ended: they would take that for their own end.

# Whether that process still is the shell: by when it was started, and where no host tells that, by being a shell of ours.
_pisaura_is_shell() {
    [ "$_pisaura_s" = - ] || { _pisaura_lives "$_pisaura_E" "$_pisaura_s"; return $?; }
    ps -o args= -p "$_pisaura_E" 2>/dev/null | grep -q _pisaura_l=1
}

if _pisaura_is_shell; then
    kill -TERM "-$_pisaura_E" 2>/dev/null || kill -TERM "$_pisaura_E" 2>/dev/null || :
    _pisaura_n=0
    while [ $_pisaura_n -lt 20 ] && kill -0 "-$_pisaura_E" 2>/dev/null; do
        sleep 0.1 2>/dev/null || sleep 1
        _pisaura_n=$((_pisaura_n + 1))
    done
    kill -KILL "-$_pisaura_E" 2>/dev/null || kill -KILL "$_pisaura_E" 2>/dev/null || :
fi
_pisaura_by=$_pisaura_E:$_pisaura_s
_pisaura_end_marked || :
