# session.sh: a shell that does not lead its session, as behind a wrapper that a login has, runs this text in a session of its own: what an
# inducer leaves running and shows no mark is known by that. Comes first: the text as it was read is still in $_pisaura_x.
if [ "${_pisaura_apart-}" != 1 ]; then
    _pisaura_y=
    { IFS= read -r _pisaura_y <"/proc/$$/stat"; } 2>/dev/null || :
    # Its state, parent, group and session. What runs as root by sudo has the session of that.
    # shellcheck disable=SC2086
    set -- ${_pisaura_y##*) }
    if [ $# -ge 4 ] && [ "$4" != $$ ] && { [ "$_pisaura_U" = 0 ] || [ "$4" != "$2" ]; }; then
        # Not as an argument, which everybody may read.
        printf '%s\n' "$_pisaura_x" | setsid /bin/sh -c '_pisaura_l=1 _pisaura_apart=1; _pisaura_x=$(cat); eval "{ $_pisaura_x; }"' || exit $?
        exit 0
    fi
    set --
fi
