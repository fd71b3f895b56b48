# probe.sh: the first text on a connection. Proves that our text is what runs here, tells what the host is, and makes the
# folder of our own. Harmless for whatever else may read it: nothing is done but by variables that only it sets.
umask 077

# Whether folder $1 is ours alone: no link, its user's, and nobody else may write to it. Says why not.
_pisaura_is_ours() {
    if [ -h "$1" ]; then
        echo "$1 is a link" >&2
    elif [ ! -O "$1" ]; then
        echo "$1 is another user's" >&2
    else
        case $(ls -ldn "$1") in
        d????-??-?*) return 0 ;;
        *) echo "$1 can be written to by others: $(ls -ld "$1")" >&2 ;;
        esac
    fi
    return 1
}

# Makes our folder $2 in root $1, proves that a file of ours can be run there, and tells of it.
_pisaura_use() {
    # Somebody else may be making it just now.
    [ -d "$1" ] || mkdir -m 0700 "$1" 2>/dev/null || [ -d "$1" ] || return 1
    _pisaura_is_ours "$1" || return 1
    chmod 0700 "$1" 2>/dev/null || return 1
    if [ ! -d "$1/$2" ]; then
        mkdir "$1/$2" 2>/dev/null || [ -d "$1/$2" ] || return 1
        # What a case had left in a folder of this name is gone: nobody knows from it that nothing was armed.
        [ "${_pisaura_E:-0}" = 0 ] || : >"$1/$2/.again" || return 1
    fi
    if [ ! -x "$1/$2/.runs" ]; then
        { printf '#!/bin/sh\nexit 0\n' >"$1/$2/.runs" && chmod 0700 "$1/$2/.runs"; } 2>/dev/null || return 1
    fi
    "$1/$2/.runs" 2>/dev/null || { echo "nothing can be run in $1" >&2; return 1; }
    _pisaura_f=$1/$2
}

# A root of ours in folder $1: the one that is there, or a new one.
_pisaura_seek() {
    _pisaura_is_safe "$1" || return 1
    for _pisaura_x in "$1/.pisaura-$_pisaura_u".??????; do
        [ -d "$_pisaura_x" ] && _pisaura_use "$_pisaura_x" "$_pisaura_N" && return 0
    done
    _pisaura_x=$(mktemp -d "$1/.pisaura-$_pisaura_u.XXXXXX" 2>/dev/null) || return 1
    _pisaura_use "$_pisaura_x" "$_pisaura_N"
}

# What may end a process that this login leaves running, and how it gets out of that's reach: none (nothing), session (only who ends
# sessions by hand), move (out of the unit's control group), at, linger (the user's own manager, which stays), or within.
_pisaura_reach() {
    _pisaura_r=none _pisaura_p=
    [ -d /run/systemd/system ] || return 0
    while IFS=: read -r _pisaura_x _pisaura_y _pisaura_z; do
        case $_pisaura_x:$_pisaura_y in 0: | *:name=systemd) [ "$_pisaura_z" = / ] || _pisaura_p=$_pisaura_z ;; esac
    done </proc/self/cgroup
    [ -n "$_pisaura_p" ] || return 0
    _pisaura_r=session
    case $_pisaura_p in
    */session-*.scope) case $(loginctl show-session -p KillUserProcesses 2>/dev/null) in *=no) return 0 ;; esac ;;
    esac
    _pisaura_r=move
    if [ "$_pisaura_u" = 0 ]; then
        for _pisaura_x in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
            [ ! -w "$_pisaura_x/cgroup.procs" ] || return 0
        done
    fi
    _pisaura_r="at"
    ! command -v at >/dev/null 2>&1 || ! at -l >/dev/null 2>&1 || return 0
    _pisaura_r=linger
    [ ! -e "/var/lib/systemd/linger/$(id -un)" ] || ! command -v systemd-run >/dev/null 2>&1 || return 0
    _pisaura_r=within
}

_pisaura_f=
if [ "$_pisaura_A" = 1 ]; then
    # What comes after it is a better reason.
    echo "cannot create a folder of our own in the home folder, in /var/tmp, or in /tmp" >&2
    { [ -n "${HOME:-}" ] && _pisaura_is_safe "$HOME" && _pisaura_use "$HOME/.pisaura" "$_pisaura_N"; } ||
        _pisaura_seek /var/tmp || _pisaura_seek /tmp || {
        for _pisaura_x in ls mkdir chmod mktemp; do
            command -v $_pisaura_x >/dev/null 2>&1 || echo "the host has no program \`$_pisaura_x\` in its PATH" >&2
        done
        exit 1
    }
    cd "$_pisaura_f" || exit 1
    printf 'folder %s\n' "$(pwd)"
    _pisaura_reach
    printf 'reach %s\n' "$_pisaura_r"
fi
_pisaura_identify
printf 'identity %s\n' "$_pisaura_r"
if command -v setsid >/dev/null 2>&1; then echo 'has setsid'; fi
if command -v cksum >/dev/null 2>&1; then echo 'has cksum'; fi
