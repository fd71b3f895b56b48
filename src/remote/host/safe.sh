# safe.sh: whether a path on the host is ours alone to write to. $_pisaura_u is who we are.
_pisaura_u=$(id -u)
[ -n "$_pisaura_u" ]

# Whether folder $1 and all above it, links on the way too, are its user's or root's, and nobody else may put another in their place.
_pisaura_is_safe() {
    _pisaura_p=$(cd -- "$1" 2>/dev/null && pwd -P) || return 1
    _pisaura_q=${1%/}
    set --
    while [ -n "$_pisaura_p" ]; do
        set -- "$@" "$_pisaura_p"
        _pisaura_p=${_pisaura_p%/*}
    done
    while [ -n "$_pisaura_q" ]; do
        [ ! -h "$_pisaura_q" ] || set -- "$@" "$_pisaura_q"
        case $_pisaura_q in /*) _pisaura_q=${_pisaura_q%/*} ;; *) _pisaura_q= ;; esac
    done
    _pisaura_p=$(ls -ldn -- / "$@" 2>/dev/null) && [ -n "$_pisaura_p" ] || {
        echo "it is not known who may write to $1: there is no \`ls -ldn\`" >&2
        return 1
    }
    printf '%s\n' "$_pisaura_p" | while read -r _pisaura_x _ _pisaura_y _pisaura_z; do
        case $_pisaura_y in
        0 | "$_pisaura_u") ;;
        *) echo "not for a file of ours, for it is user $_pisaura_y's: $_pisaura_z" >&2 && exit 1 ;;
        esac
        case $_pisaura_x in
        l* | d????-??-* | d????????[tT]*) ;;
        *) echo "not for a file of ours, for others may write there ($_pisaura_x): $_pisaura_z" >&2 && exit 1 ;;
        esac
    done
}

# Whether $1 is a plain file that only its user, or root, can have written, and nobody else can.
_pisaura_is_own_file() {
    [ -f "$1" ] && [ ! -h "$1" ] || return 1
    # shellcheck disable=SC2046
    set -- $(ls -ldn -- "$1" 2>/dev/null)
    case ${1:-} in -????-??-*) ;; *) return 1 ;; esac
    [ "${3:-}" = 0 ] || [ "${3:-}" = "$_pisaura_u" ]
}
