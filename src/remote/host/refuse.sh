# refuse.sh: the end of a text that cannot break the host.

# Ends here: $1 is why, as a mark; $2 for people.
_pisaura_refuse() {
    [ -z "${2-}" ] || printf '%s\n' "$2" >&2
    # A watcher that was started already hears of it before its folder goes, or is ended.
    _pisaura_k=TERM
    _pisaura_put_down orders over || _pisaura_k=KILL
    _pisaura_get watcher
    _pisaura_p=$_pisaura_r
    if _pisaura_lives "$_pisaura_p" "${_pisaura_q%% *}"; then kill -$_pisaura_k "$_pisaura_p" 2>/dev/null || :; fi
    _pisaura_free
    rm -rf "${_pisaura_C:?}" "$_pisaura_F/.arming-$_pisaura_M"
    _pisaura_mark "$1"
    exit 0
}
