# induce.sh: the inducer, and the host's own record of it. It says that it begins before it looks whether it still may, as those who
# revert do, so one of both sees the other: what was reverted since is not begun by a shell that has lost its connection.
_pisaura_start $$
_pisaura_put inducing "$$ $_pisaura_r" || _pisaura_refuse a1 ''
_pisaura_get orders
[ "$_pisaura_r" = armed ] || _pisaura_refuse a4 'the case was reverted before it was begun'
{ read -r _pisaura_x _ <"$_pisaura_L"; } 2>/dev/null || _pisaura_x=
[ "$_pisaura_x" = "$_pisaura_M" ] || _pisaura_refuse a2 ''
_pisaura_put induced begun || _pisaura_refuse a1 ''
# What cuts the machine off may end it hard.
[ "$_pisaura_Y" = 0 ] || sync 2>/dev/null || :
_pisaura_mark b0
set +eu
_pisaura_command
_pisaura_s=$?
_pisaura_put induced "$_pisaura_s"
_pisaura_put inducing -
# What it leaves running is ended before the reverter begins. Looked for now, when nobody waits for it.
_pisaura_put left looking
(
    _pisaura_marked
    _pisaura_e=$_pisaura_r
    # What it has begun as another user shows no mark. It is of this shell's session, unless it has one of its own.
    _pisaura_unmarked $$
    [ -z "$_pisaura_e$_pisaura_q$_pisaura_blind" ] || _pisaura_e=some
    _pisaura_put left "${_pisaura_e:-none}$_pisaura_q"
) </dev/null >/dev/null 2>&1 &
