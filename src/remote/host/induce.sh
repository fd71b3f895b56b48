# induce.sh: the inducer, and the host's own record of it. It says that it begins before it looks whether it still may, as those who
# revert do, so one of both sees the other: what was reverted since is not begun by a shell that has lost its connection.
_pisaura_start $$
_pisaura_own_session
{ printf '%-63s\n' "$$ $_pisaura_r $_pisaura_sid" 1<>"$_pisaura_F/.arming-$_pisaura_M"; } 2>/dev/null || _pisaura_refuse a1 ''
_pisaura_put inducing "$$ $_pisaura_r" || _pisaura_refuse a1 ''
_pisaura_get orders
[ "$_pisaura_r" = armed ] || {
    # Whoever did it, or is at it, needs what lies there.
    _pisaura_put inducing -
    echo 'the case was reverted before it was begun' >&2
    _pisaura_mark a4
    exit 0
}
{ read -r _pisaura_x _ <"$_pisaura_L"; } 2>/dev/null || _pisaura_x=
[ "$_pisaura_x" = "$_pisaura_M" ] || _pisaura_refuse a2 ''
_pisaura_put induced begun || _pisaura_refuse a1 ''
# What cuts the machine off may end it hard.
[ "$_pisaura_Y" = 0 ] || sync 2>/dev/null || :
_pisaura_mark b0
set +eu
_pisaura_command
_pisaura_s=$?
_pisaura_now
_pisaura_put induced "$_pisaura_s $_pisaura_r"
_pisaura_put inducing -
_pisaura_n=
# What it leaves running is ended before the reverter begins. What shows no mark, as what it has begun as another user, is of this
# session, unless it has one of its own; and that its number stays this session's is known while one of it lives that is known.
_pisaura_put left 'looking -'
(
    { read -r _pisaura_e _ </proc/self/stat; } 2>/dev/null || exit 0
    _pisaura_start "$_pisaura_e"
    _pisaura_e=$_pisaura_e:$_pisaura_r
    _pisaura_put left "looking $_pisaura_e"
    _pisaura_look "$_pisaura_sid"
    for _pisaura_x in $_pisaura_members; do
        case $_pisaura_x in "$_pisaura_e" | "$_pisaura_sid":* | "$$":*) ;; *) _pisaura_n=some ;; esac
    done
    [ "$_pisaura_n" = some ] || _pisaura_n=none
    _pisaura_put left "$_pisaura_n $_pisaura_e"
    [ $_pisaura_n = some ] || exit 0
    while _pisaura_get orders && case $_pisaura_r in armed | reverting) ;; *) false ;; esac do sleep 1 || exit 0; done
) </dev/null >/dev/null 2>&1 &
