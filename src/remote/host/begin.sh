# begin.sh: in front of each text. Whatever else than our own command line has got hold of the text stops here.
[ "${_pisaura_l-}" = 1 ] || exit 121
_pisaura_mark() { printf '%s' "$_pisaura_t1$_pisaura_t2:$1${2-};" >&"$_pisaura_fd"; }
set -eu
