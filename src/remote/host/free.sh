# free.sh: takes away who has the host, once that case is over: every word of it. Without a mark, one that never got its word.
_pisaura_free_it() {
    _pisaura_L=$1
    if [ -n "$_pisaura_M" ]; then _pisaura_free; elif [ ! -s "$1" ]; then rm -f "$1"; fi
    # There may be more.
    return 1
}
_pisaura_each_lease _pisaura_free_it || :
