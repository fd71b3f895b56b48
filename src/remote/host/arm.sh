# arm.sh: takes the host for the case, leaves there what heals it, and arms the dead man's switch. Nothing is broken yet: whoever
# cannot go on takes it all away again, and says why.

_pisaura_now
_pisaura_s="$_pisaura_r"
_pisaura_umask=$(umask)
umask 077
# Whoever finds the case's folder without its facts sees by this whether they are still to come.
_pisaura_start $$
_pisaura_q=
_pisaura_own_session
{ printf '%-63s\n' "$$ $_pisaura_r $_pisaura_sid" >"$_pisaura_F/.arming-$_pisaura_M" && read -r _ _pisaura_q _ <"$_pisaura_F/.arming-$_pisaura_M"; } 2>/dev/null || :
[ "$_pisaura_q" = "$_pisaura_r" ] || [ ! -d "$_pisaura_F" ] || _pisaura_refuse a1 'there is no room for a word'
mkdir "$_pisaura_C" "$_pisaura_C/armed" || {
    [ -d "$_pisaura_F" ] || _pisaura_refuse a5 ''
    # Whoever has reverted a case that was not armed has put its folder in our way, or is about to.
    _pisaura_n=0
    while [ -d "$_pisaura_C" ] && [ $_pisaura_n -lt 10 ]; do
        [ ! -e "$_pisaura_C/facts" ] || { _pisaura_mark a4; exit 0; }
        _pisaura_n=$((_pisaura_n + 1))
        sleep 0.05 2>/dev/null || sleep 1
    done
    _pisaura_refuse a1 ''
}
# Without it nobody would see what the inducer leaves running.
for _pisaura_x in grep tr sed; do
    command -v $_pisaura_x >/dev/null 2>&1 || _pisaura_refuse a1 "the host has no program \`$_pisaura_x\` in its PATH"
done
if [ -r /proc/self/environ ]; then
    # Where others' processes are hidden, what an inducer begins by sudo would be, too.
    { read -r _ </proc/1/stat; } 2>/dev/null ||
        _pisaura_refuse a1 'the host hides the processes of other users (hidepid), so nobody could see what an inducer leaves running as root: log in as root, or say `become` in the book'
else
    ps axeww -o pid= -o command= >/dev/null 2>&1 || _pisaura_refuse a1 'the host does not show its processes (no /proc, and no `ps axeww`), so nobody could see what an inducer leaves running'
fi
case $_pisaura_sid in *[!0-9]*)
    [ "$_pisaura_session" = - ] || _pisaura_refuse a1 'the login there gives our shell no session of its own, and the host has no `setsid`, so nobody could see what an inducer leaves running'
    ;;
esac
# What runs is what was brought, for a failure may have changed it since.
_pisaura_x=$(_pisaura_sums 2>/dev/null) || _pisaura_x=
[ "$_pisaura_x" = "$_pisaura_brought" ] || _pisaura_refuse a6 ''
# Whoever makes this file has the host: it is made new or not at all. It names the case, its folder, who is behind it, and since when.
_pisaura_n=0
until { set -C && printf '' >"$_pisaura_L"; } 2>/dev/null; do
    # The last case of this run may be about to free it.
    { read -r _ _ _ _ _pisaura_x <"$_pisaura_L"; } 2>/dev/null || _pisaura_x=
    if [ "$_pisaura_x" != "$_pisaura_F" ] || [ $_pisaura_n -ge 40 ]; then
        set +C
        [ -e "$_pisaura_L" ] || _pisaura_refuse a1 "cannot write $_pisaura_L"
        _pisaura_refuse a2 ''
    fi
    _pisaura_n=$((_pisaura_n + 1))
    sleep 0.05 2>/dev/null || sleep 1
done
set +C
printf '%s\n' "$_pisaura_M $_pisaura_W $_pisaura_s $_pisaura_F" >>"$_pisaura_L" || {
    rm -f "$_pisaura_L"
    _pisaura_refuse a1 ''
}
# Somebody may have this machine by a root that is not the one that can be used now.
_pisaura_is_another() { ! [ "$1" -ef "$_pisaura_L" ]; }
if _pisaura_each_lease _pisaura_is_another; then _pisaura_refuse a2 ''; fi
# And who logs in as another user cannot read that: what it may know lies where all can.
if [ "$_pisaura_J" = 1 ]; then
    _pisaura_x=${_pisaura_I#* }
    umask 022
    { set -C && printf '%s\n' "${_pisaura_x%% *} $_pisaura_s ${_pisaura_W%% *} $_pisaura_H" >"/var/tmp/.pisaura-${_pisaura_L##*/}.$_pisaura_M"; } 2>/dev/null || :
    set +C
    umask 077
    if _pisaura_is_anothers; then _pisaura_refuse a2 ''; fi
fi
# What heals is one command in brackets, so that a part of a file is none.
_pisaura_make() {
    for _pisaura_x in healed inducing induced reverting word left touched watcher ready; do
        printf '%-63s\n' - >"$_pisaura_C/$_pisaura_x" || return 1
    done
    printf '' >"$_pisaura_C/kept" &&
        printf '%-63s\n' 0 >"$_pisaura_C/begun" &&
        printf '%s\n' "$_pisaura_M" "$_pisaura_I" "$_pisaura_s" "${HOME:-/}" >"$_pisaura_C/facts" &&
        printf '%-63s\n' armed >"$_pisaura_C/orders" &&
        printf %s "$_pisaura_revert" >"$_pisaura_C/revert" &&
        printf '{\n%s\nexit\n}\n' "$_pisaura_heal$_pisaura_common$_pisaura_reverting" >"$_pisaura_C/heal" &&
        printf '{\n%s\nexit\n}\n' "$_pisaura_watch$_pisaura_common$_pisaura_watching" >"$_pisaura_C/watch"
}
_pisaura_make || _pisaura_refuse a1 ''
umask "$_pisaura_umask"
# A machine that is ended hard keeps only what is on its disk.
[ "$_pisaura_Y" = 0 ] || sync 2>/dev/null || :
