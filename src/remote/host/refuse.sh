# refuse.sh: the end of a text that cannot break the host.

# Ends here: $1 is why, as a mark; $2 for people.
_pisaura_refuse() {
    [ -z "${2-}" ] || printf '%s\n' "$2" >&2
    # A watcher that was started already hears of it before its folder goes.
    _pisaura_put orders over || :
    _pisaura_get watcher
    if _pisaura_lives "$_pisaura_r" "${_pisaura_q%% *}"; then kill -TERM "${_pisaura_w:-$_pisaura_r}" 2>/dev/null || :; fi
    rm -rf "$_pisaura_C"
    _pisaura_free
    _pisaura_mark "$1"
    exit 0
}
