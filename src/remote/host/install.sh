# install.sh: puts files of ours to the absolute paths where a book wants them. What stands there is kept, to be put back at the end.

# Makes folder $1 and those above it, and remembers in file $2 which were not there.
_pisaura_make() {
    case $1 in / | .) return 0 ;; esac
    [ ! -d "$1" ] || return 0
    _pisaura_make "$(dirname -- "$1")" "$2" && mkdir -- "$1" && printf '%s\n' "$1" >>"$2"
}

# Whether two files hold the same.
_pisaura_is_same() {
    if command -v cmp >/dev/null 2>&1; then
        cmp -s -- "$1" "$2"
    else
        _pisaura_y=$(cksum <"$1") && [ "$_pisaura_y" = "$(cksum <"$2")" ]
    fi
}

# File $1 of ours is put to path $2; $3 is its name in our folder. Nobody but us and root may be able to change it there, or to put
# another in its place: what runs from there may run as root.
_pisaura_install() {
    _pisaura_d=$_pisaura_R/put-${3%%/*}
    _pisaura_t=$(dirname -- "$2")
    if [ -d "$2" ]; then
        echo "$2 is a folder" >&2
        return 1
    fi
    if [ -e "$2" ] && [ ! -f "$2" ] && [ ! -h "$2" ]; then
        echo "$2 is no file" >&2
        return 1
    fi
    [ ! -e "$_pisaura_d/back" ] || _pisaura_put_back "$_pisaura_d" || return 1
    # A file of the host's own that is the same already is left as it is.
    if [ ! -e "$_pisaura_d/path" ] && _pisaura_is_own_file "$2" && [ -x "$2" ] && _pisaura_is_safe "$_pisaura_t" && _pisaura_is_same "$1" "$2"; then
        return 0
    fi
    _pisaura_v=$_pisaura_t
    while [ ! -d "$_pisaura_v" ]; do _pisaura_v=$(dirname -- "$_pisaura_v"); done
    _pisaura_is_safe "$_pisaura_v" || return 1
    mkdir -p "$_pisaura_d/owners" || return 1
    if [ -e "$_pisaura_d/path" ] && ! _pisaura_is_same "$1" "$2"; then
        for _pisaura_x in "$_pisaura_d/owners"/*; do
            _pisaura_x=${_pisaura_x##*/}
            if [ "$_pisaura_x" != "${_pisaura_F##*/}" ] && [ -d "$_pisaura_R/$_pisaura_x" ]; then
                echo "$2 is in use: another book or run has put another file there (its folder is $_pisaura_R/$_pisaura_x)" >&2
                return 1
            fi
        done
    fi
    if [ ! -e "$_pisaura_d/path" ]; then
        _pisaura_make "$_pisaura_t" "$_pisaura_R/made" || return 1
        # The file itself is kept where that can be: a copy has none of its capabilities, attributes, and other names.
        if [ -h "$2" ] || [ -e "$2" ]; then
            { [ ! -h "$2" ] && ln -- "$2" "$_pisaura_d/was" 2>/dev/null; } || cp -a -- "$2" "$_pisaura_d/was" 2>/dev/null || cp -pP -- "$2" "$_pisaura_d/was" || return 1
        else
            : >"$_pisaura_d/nothing"
        fi
        cksum <"$1" >"$_pisaura_d/ours" 2>/dev/null || :
        printf '%s' "$2" >"$_pisaura_d/path" || return 1
    fi
    _pisaura_is_safe "$_pisaura_t" || return 1
    printf '' >"$_pisaura_d/owners/${_pisaura_F##*/}" || return 1
    if _pisaura_is_own_file "$2" && [ -x "$2" ] && _pisaura_is_same "$1" "$2"; then return 0; fi
    # Under a name that nobody can guess, and that no link has.
    _pisaura_x=$(mktemp "$_pisaura_t/.pisaura.XXXXXX") || return 1
    cat <"$1" >"$_pisaura_x" && chmod 0755 "$_pisaura_x" && _pisaura_move "$_pisaura_x" "$2" || {
        rm -f -- "$_pisaura_x"
        return 1
    }
    _pisaura_is_own_file "$2" && _pisaura_is_same "$1" "$2" || {
        echo "$2 is another file than was put there" >&2
        return 1
    }
}
umask 077
