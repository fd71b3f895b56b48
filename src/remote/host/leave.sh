# leave.sh: takes everything of ours from the host. What still heals it, or will, stays, and so does all that it needs.
cd / || exit 1
# What is another user's there is none of ours.
if [ -e "$_pisaura_R" ] && ! _pisaura_is_own "$_pisaura_R"; then
    echo left
    _pisaura_mark x 0
    exit 0
fi

# Whether a case's folder in $1 still heals the host, or will. One whose case is over may be about to be emptied: it is waited for.
_pisaura_is_dirty() {
    _pisaura_n=0
    while :; do
        _pisaura_k=0
        for _pisaura_C in "$1"/.case-*; do
            [ -e "$_pisaura_C" ] || continue
            _pisaura_is_said_healed || return 0
            [ ! -e "$_pisaura_C/watch" ] || _pisaura_k=$((_pisaura_k + 1))
            # Another executor's word that the host is healed may not be written down anywhere else yet.
            [ ! -e "$_pisaura_C/recorded" ] || continue
            case $_pisaura_own in '*' | *" ${_pisaura_C##*/.case-} "*) ;; *) _pisaura_shared=1 ;; esac
        done
        [ $_pisaura_k != 0 ] && [ $_pisaura_n -lt 60 ] || return 1
        _pisaura_n=$((_pisaura_n + 1))
        sleep 0.05 2>/dev/null || sleep 1
    done
}

_pisaura_shared=
# Somebody has begun to leave, and was cut off.
if [ -d "$_pisaura_F.gone" ] && _pisaura_is_dirty "$_pisaura_F.gone"; then
    [ -e "$_pisaura_F" ] || mv -f -- "$_pisaura_F.gone" "$_pisaura_F" || :
    echo 'left dirty'
    _pisaura_mark x 0
    exit 0
fi
if [ -d "$_pisaura_F" ]; then
    # Another executor of the same run may be about to arm: it finds the folder gone, or we find what it has left.
    if _pisaura_is_dirty "$_pisaura_F"; then
        echo 'left dirty'
        _pisaura_mark x 0
        exit 0
    fi
    mv -f -- "$_pisaura_F" "$_pisaura_F.gone" || exit 1
    if _pisaura_is_dirty "$_pisaura_F.gone"; then
        mv -f -- "$_pisaura_F.gone" "$_pisaura_F"
        echo 'left dirty'
        _pisaura_mark x 0
        exit 0
    fi
fi
if [ -n "$_pisaura_shared" ]; then
    # Nothing but our own words goes: the folder is for the last one to remove.
    [ ! -d "$_pisaura_F.gone" ] || mv -f -- "$_pisaura_F.gone" "$_pisaura_F"
    # The cases' folders stay in the way of a text that is only late: it would arm what is over.
    for _pisaura_x in $_pisaura_own; do
        [ ! -d "$_pisaura_F/.case-$_pisaura_x" ] || : >"$_pisaura_F/.case-$_pisaura_x/recorded"
    done
    echo 'left shared'
    _pisaura_mark x 0
    exit 0
fi
# What was put elsewhere goes, and what had stood there comes back, unless somebody else still wants it.
for _pisaura_d in "$_pisaura_R"/put-*; do
    # Somebody may have begun to put it back, and was cut off.
    [ -e "$_pisaura_d/owners/${_pisaura_F##*/}" ] || { _pisaura_is_own "$_pisaura_d" && [ ! -e "$_pisaura_d/owners" ]; } || continue
    [ -n "$_pisaura_h" ] || { _pisaura_hold && _pisaura_h=1; } || exit 1
    rm -f "$_pisaura_d/owners/${_pisaura_F##*/}"
    [ ! -e "$_pisaura_d/owners" ] || rmdir "$_pisaura_d/owners" 2>/dev/null || continue
    _pisaura_why=
    _pisaura_put_back "$_pisaura_d" || printf 'kept %s\n' "${_pisaura_why:-what had stood where a file was put could not be put back: it is in $_pisaura_d}"
done
if [ -n "$_pisaura_h" ]; then
    if [ -e "$_pisaura_R/made" ]; then
        sort -ru "$_pisaura_R/made" | while IFS= read -r _pisaura_x; do
            rmdir -- "$_pisaura_x" 2>/dev/null || [ ! -d "$_pisaura_x" ] || printf '%s\n' "$_pisaura_x"
        done >"$_pisaura_R/made.new"
        mv -f "$_pisaura_R/made.new" "$_pisaura_R/made"
        [ -s "$_pisaura_R/made" ] || rm -f "$_pisaura_R/made"
    fi
    _pisaura_release
fi
rm -rf -- "${_pisaura_F:?}" "${_pisaura_F:?}.gone" || exit 1
# A machine that was started anew may have another name for its lease, under which it could not free the old one.
for _pisaura_x in "$_pisaura_R"/lease-*; do
    { read -r _ _ _ _ _pisaura_y <"$_pisaura_x"; } 2>/dev/null || continue
    [ "$_pisaura_y" != "$_pisaura_F" ] || rm -f -- "$_pisaura_x"
done
rmdir -- "$_pisaura_R" /sys/fs/cgroup/pisaura /sys/fs/cgroup/unified/pisaura /sys/fs/cgroup/systemd/pisaura 2>/dev/null || :
echo left
