# put.sh: the lock under which files are put to paths outside of our folder, and taken away again; several books, and several runs,
# may want the same one. What is known of such a path lies in put-KEY beside our folder: `path` (`back` once it is put back), `was` (what
# stood there) or `nothing`, `ours` (what was put there), `owners` (the folders of ours that want it); `made` beside it names folders
# that were not there.
_pisaura_R=${_pisaura_F%/*}

_pisaura_hold() {
    _pisaura_start $$
    _pisaura_n=0
    until { set -C && printf '%s %s\n' $$ "$_pisaura_r" >"$_pisaura_R/putting"; } 2>/dev/null; do
        set +C
        _pisaura_y="" _pisaura_z=""
        { read -r _pisaura_y _pisaura_z <"$_pisaura_R/putting"; } 2>/dev/null || :
        # Whoever had it is gone, and so left it.
        if [ $_pisaura_n -gt 4 ] && ! _pisaura_lives "$_pisaura_y" "$_pisaura_z"; then mv -f "$_pisaura_R/putting" "$_pisaura_R/putting.$$" 2>/dev/null && rm -f "$_pisaura_R/putting.$$"; fi
        [ $_pisaura_n -lt 200 ] || { echo "$_pisaura_R/putting is held by process $_pisaura_y" >&2; return 1; }
        _pisaura_n=$((_pisaura_n + 1))
        sleep 0.05 2>/dev/null || sleep 1
        _pisaura_start $$
    done
    set +C
}

_pisaura_release() { rm -f "$_pisaura_R/putting"; }

# File $1 takes the place of $2, also of a link; never into a folder.
_pisaura_move() {
    mv -fT -- "$1" "$2" 2>/dev/null || {
        if [ -d "$2" ]; then
            echo "$2 is a folder" >&2
            return 1
        fi
        mv -f -- "$1" "$2"
    }
}

# Puts back what had stood where the file of folder $1 was put. May be cut off anywhere, and done again. What somebody else has put
# there meanwhile stays: $_pisaura_why.
_pisaura_put_back() {
    [ ! -e "$1/path" ] || mv -f -- "$1/path" "$1/back" || return 1
    _pisaura_x=$(cat "$1/back" 2>/dev/null) || _pisaura_x=
    if [ -n "$_pisaura_x" ] && [ -e "$_pisaura_x" ] && [ -s "$1/ours" ] && { [ -e "$1/was" ] || [ -e "$1/nothing" ]; } &&
        [ "$(cksum <"$_pisaura_x" 2>/dev/null)" != "$(cat "$1/ours")" ]; then
        _pisaura_why="$_pisaura_x was changed since it was put there, and stays as it is; what stood there before is $1/was: put it back, or remove $1, once you know what is right"
        echo "$_pisaura_why" >&2
        return 1
    fi
    if [ -e "$1/was" ] || [ -h "$1/was" ]; then
        _pisaura_move "$1/was" "$_pisaura_x" || return 1
    elif [ -e "$1/nothing" ] && [ -n "$_pisaura_x" ]; then
        rm -f -- "$_pisaura_x" && rm -f -- "$1/nothing" || return 1
    fi
    rm -rf -- "${1:?}"
}
