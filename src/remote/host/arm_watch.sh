# arm_watch.sh: starts the watcher, out of reach of what ends this shell, and of what may end all that this login has begun.

# Becomes the watcher.
_pisaura_watch() {
    if [ "$_pisaura_S" = 1 ]; then exec setsid /bin/sh "$_pisaura_C/watch"; fi
    trap '' HUP
    exec /bin/sh "$_pisaura_C/watch"
}

# Whether process $1 would end with the login, or with the unit of its server, and where it lies then: it stays in our control group,
# or in one that is its user's.
_pisaura_is_within() {
    while IFS=: read -r _pisaura_x _pisaura_y _pisaura_z; do
        case $_pisaura_x:$_pisaura_y in 0: | *:name=systemd) ;; *) continue ;; esac
        case $_pisaura_z in
        /) continue ;;
        */user@*) [ ! -e "/var/lib/systemd/linger/$(id -un)" ] || continue ;;
        esac
        grep -qxF "$_pisaura_x:$_pisaura_y:$_pisaura_z" /proc/$$/cgroup || case $_pisaura_z in */user-*.slice/*) ;; *) continue ;; esac
        _pisaura_r=$_pisaura_z
        return 0
    done <"/proc/$1/cgroup"
    return 1
}

_pisaura_w=
case $_pisaura_V in
move)
    (
        # A process is moved before it begins another one, which would stay.
        for _pisaura_x in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
            [ -w "$_pisaura_x/cgroup.procs" ] || continue
            { echo 0 >"$_pisaura_x/cgroup.procs"; } 2>/dev/null ||
                { mkdir -p "$_pisaura_x/pisaura" && echo 0 >"$_pisaura_x/pisaura/cgroup.procs"; } 2>/dev/null || :
        done
        _pisaura_watch
    ) </dev/null >/dev/null 2>&1 &
    _pisaura_w=$!
    ;;
at)
    export _PISAURA_WATCH="$_pisaura_C/watch"
    echo 'exec /bin/sh "$_PISAURA_WATCH"' | at -M now >/dev/null 2>&1 ||
        _pisaura_refuse a1 '`at` does not take what is to heal the host'
    unset _PISAURA_WATCH
    ;;
linger)
    (
        export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"
        exec systemd-run --user -q --collect --scope --unit="pisaura-$_pisaura_M" setsid /bin/sh "$_pisaura_C/watch"
    ) </dev/null >/dev/null 2>&1 &
    _pisaura_w=$!
    ;;
*)
    (_pisaura_watch) </dev/null >/dev/null 2>&1 &
    _pisaura_w=$!
    ;;
esac
# It has to have all that it needs before the failure may take that away.
_pisaura_n=0
while _pisaura_get ready && [ "$_pisaura_r" != yes ]; do
    [ -z "$_pisaura_w" ] || kill -0 "$_pisaura_w" 2>/dev/null ||
        _pisaura_refuse a1 'the watcher that is to heal the host ended at once'
    _pisaura_n=$((_pisaura_n + 1))
    [ -n "$_pisaura_w" ] || sleep 0.002 2>/dev/null || sleep 1
    [ $_pisaura_n -lt 2000 ] || { sleep 0.01 2>/dev/null || sleep 1; }
    [ $_pisaura_n -lt 2500 ] || _pisaura_refuse a1 'the watcher that is to heal the host does not begin'
done
case $_pisaura_V in
none | session) ;;
*)
    _pisaura_get watcher
    if _pisaura_is_within "$_pisaura_r"; then
        _pisaura_refuse a1 "the dead man's switch would end with this login ($_pisaura_r): log in as root, install \`at\`, let the user linger (\`loginctl enable-linger\`), or accept it in the book: \`deadman: {may_die_with: session}\`"
    fi
    ;;
esac
