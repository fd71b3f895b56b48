# end.sh: ends what a command has begun, from beside it: the group of its shell, if process $_pisaura_E still is a shell of ours, and
# what has left that group.
if grep -q _pisaura_l=1 "/proc/$_pisaura_E/cmdline" 2>/dev/null || ps -o args= -p "$_pisaura_E" 2>/dev/null | grep -q _pisaura_l=1; then
    kill -TERM "-$_pisaura_E" 2>/dev/null || kill -TERM "$_pisaura_E" 2>/dev/null || :
    _pisaura_n=0
    while [ $_pisaura_n -lt 20 ] && kill -0 "-$_pisaura_E" 2>/dev/null; do
        sleep 0.1 2>/dev/null || sleep 1
        _pisaura_n=$((_pisaura_n + 1))
    done
    kill -KILL "-$_pisaura_E" 2>/dev/null || kill -KILL "$_pisaura_E" 2>/dev/null || :
fi
_pisaura_end_marked
