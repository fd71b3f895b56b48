# place.sh: files that were brought under names of their own take their places, each whole or not at all.

# Whether file $1 has $2 bytes and the checksum $3 (POSIX cksum; "-" if the host has none).
_pisaura_is_whole() {
    [ -f "$1" ] || return 1
    if [ "$3" = - ]; then
        _pisaura_x=$(wc -c <"$1")
        # shellcheck disable=SC2086
        set -- "$1" "$2" $_pisaura_x
        [ "$2" = "$3" ]
    else
        # shellcheck disable=SC2046
        set -- "$2" "$3" $(cksum <"$1")
        [ "$2 $1" = "$3 $4" ]
    fi
}

# File $1 becomes $2.
_pisaura_place() {
    _pisaura_is_whole "$1" "$3" "$4" || { printf '%s did not arrive whole\n' "$2" >&2; rm -f "$1"; return 1; }
    mkdir -p "${2%/*}" && chmod 0755 "$1" && mv -f "$1" "$2"
}

# Tells of file $1 that it is there and whole.
_pisaura_tell_whole() {
    ! _pisaura_is_whole "$1" "$2" "$3" || [ ! -x "$1" ] || printf 'whole %s\n' "$4"
}
cd "$_pisaura_F" && [ -O . ] || exit 1
