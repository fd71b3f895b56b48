# look.sh: who has the host, and what has become of them. One line for the case that has it:
# mark, who is behind it (as they said), seconds to the deadline when it was armed (0 without), whose machine it was (same, rebooted,
# other), state (armed, off, dead, healed, gone), seconds since it was armed, folder.
_pisaura_take_it() { _pisaura_L=$1; }
_pisaura_each_lease _pisaura_take_it || :
{ read -r _pisaura_M _pisaura_W _pisaura_D _pisaura_s _pisaura_F <"$_pisaura_L"; } 2>/dev/null || {
    if [ -e "$_pisaura_L" ]; then echo 'host unknown'; else
        # A failure may have taken the word away; what lives and is to heal the host has it all the same.
        _pisaura_y=$(printf '%s\n' "${_pisaura_L%/*}/" | _pisaura_search -ls -f - /proc/[0-9]*/cmdline) || case $? in 124 | 137 | 143) _pisaura_y=hangs ;; esac
        # Its time was up.
        [ "$_pisaura_y" != hangs ] || { echo 'host hangs'; _pisaura_mark x 0; exit 0; }
        _pisaura_state=free
        for _pisaura_x in $_pisaura_y; do
            _pisaura_x=${_pisaura_x%/cmdline}
            [ -O "$_pisaura_x" ] && [ -e "$_pisaura_x/fd/3" ] && grep -qs '/\.case-[0-9a-f]*/watch' "$_pisaura_x/cmdline" || continue
            [ "$_pisaura_x/ns/mnt" -ef /proc/self/ns/mnt ] || continue
            # One that was told that it is over is about to go.
            _pisaura_z=
            { read -r _pisaura_z _ <"$_pisaura_x/fd/3"; } 2>/dev/null || :
            case $_pisaura_z in over | stop) continue ;; esac
            _pisaura_state="watched ${_pisaura_x#/proc/}"
        done
        # What older cases of ours have left for other users goes, unless one takes the host just now: its lease comes first.
        set --
        for _pisaura_x in "/var/tmp/.pisaura-${_pisaura_L##*/}".*; do
            # Somebody else may have put a link there, or a name with blanks.
            case ${_pisaura_x#"/var/tmp/.pisaura-${_pisaura_L##*/}."} in *[!0-9a-f]* | '') continue ;; esac
            [ ! -f "$_pisaura_x" ] || [ -h "$_pisaura_x" ] || [ ! -O "$_pisaura_x" ] || [ "$_pisaura_J" = 0 ] || set -- "$@" "$_pisaura_x"
        done
        [ $# = 0 ] || [ -e "$_pisaura_L" ] || rm -f -- "$@"
        if [ "$_pisaura_state" = free ] && _pisaura_is_anothers; then
            _pisaura_state="anothers $_pisaura_r $_pisaura_q $_pisaura_x"
        fi
        printf 'host %s\n' "$_pisaura_state"
    fi
    _pisaura_mark x 0
    exit 0
}
_pisaura_C=$_pisaura_F/.case-$_pisaura_M
_pisaura_x=
! _pisaura_is_own "$_pisaura_F" || ! _pisaura_is_own "$_pisaura_C" || { read -r _pisaura_x; read -r _pisaura_i; } 2>/dev/null <"$_pisaura_C/facts" || :
_pisaura_state=gone _pisaura_left=0 _pisaura_whose=same
if [ "$_pisaura_x" = "$_pisaura_M" ]; then
    _pisaura_compare "$_pisaura_i" "$_pisaura_I"
    _pisaura_whose=$_pisaura_r
    if _pisaura_is_said_healed; then
        _pisaura_state=healed
    else
        _pisaura_get watcher
        if [ "$_pisaura_r" = - ]; then
            _pisaura_state=off
        elif [ "$_pisaura_whose" = same ] && _pisaura_lives "$_pisaura_r" "${_pisaura_q%% *}"; then
            _pisaura_state=armed
        else
            _pisaura_state=dead
        fi
    fi
fi
_pisaura_now
case $_pisaura_r$_pisaura_s in
*[!0-9]*) ;;
*) _pisaura_left=$(((_pisaura_r - _pisaura_s) / 100)) ;;
esac
printf "host %s %s %s %s %s %s %s\n" "$_pisaura_M" "$_pisaura_W" "$_pisaura_D" "$_pisaura_whose" "$_pisaura_state" "$_pisaura_left" "$_pisaura_F"
