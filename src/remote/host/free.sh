# free.sh: takes away who has the host, once that case is over: every word of it. Without a mark, one that never got its word.
for _pisaura_x in "$_pisaura_L" "${HOME:-}/.pisaura/${_pisaura_L##*/}" /var/tmp/.pisaura-*/"${_pisaura_L##*/}" /tmp/.pisaura-*/"${_pisaura_L##*/}"; do
    [ -O "$_pisaura_x" ] && [ -O "${_pisaura_x%/*}" ] || continue
    _pisaura_L=$_pisaura_x
    if [ -n "$_pisaura_M" ]; then _pisaura_free; elif [ ! -s "$_pisaura_L" ]; then rm -f "$_pisaura_L"; fi
done
