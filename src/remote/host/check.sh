# check.sh: proves of commands that they can begin here: their programs and interpreters are found, and what a shell or another
# interpreter reads can be read. Nothing of them is run.

# Program $2 of the $1 is found.
_pisaura_check_program() {
    command -v "$2" >/dev/null 2>&1 || { printf 'the %s cannot be run: the host has no program `%s`\n' "$1" "$2" >&2; exit 1; }
}

# Shell text $2 of the $1 can be read by the shell here.
_pisaura_check_text() {
    _pisaura_y=$(/bin/sh -n -c -- "$2" 2>&1) || {
        printf 'the %s cannot be run: %s\n' "$1" "$(printf %s "$_pisaura_y" | tr -s '\n ' ' ')" >&2
        exit 1
    }
}

# File $2 of the $1 has an interpreter that can read it.
_pisaura_check_file() {
    _pisaura_x=
    { IFS= read -r _pisaura_x <"$2"; } 2>/dev/null || :
    case $_pisaura_x in
    '#!'*) ;;
    *[![:print:][:space:]]*) return 0 ;;
    *) _pisaura_x='#!/bin/sh' ;;
    esac
    _pisaura_p=$2 _pisaura_y=$1
    # shellcheck disable=SC2086
    set -- ${_pisaura_x#??}
    case ${1-} in
    */env)
        shift
        while [ $# -gt 0 ]; do
            case $1 in
            -S | -i | - | -[iv]S | --) shift ;;
            -S*) _pisaura_x=${1#-S} && shift && set -- "$_pisaura_x" "$@" ;;
            -u) shift && shift ;;
            -* | *=*) shift ;;
            *) break ;;
            esac
        done
        ;;
    esac
    command -v "${1:-none}" >/dev/null 2>&1 || {
        printf 'the %s cannot be run: the interpreter in the first line of %s is not there: %s\n' "$_pisaura_y" "${_pisaura_p##*/}" "$_pisaura_x" >&2
        exit 1
    }
    case ${1##*/} in
    bash) _pisaura_x=$("$1" -O extglob -n "$_pisaura_p" 2>&1) ;;
    sh | ash | dash | ksh | mksh | zsh) _pisaura_x=$("$1" -n "$_pisaura_p" 2>&1) ;;
    busybox) return 0 ;;
    python | python[0-9]*) _pisaura_x=$("$1" -c 'import sys; compile(open(sys.argv[1], "rb").read(), sys.argv[1], "exec")' "$_pisaura_p" 2>&1) ;;
    ruby) _pisaura_x=$("$1" -c "$_pisaura_p" 2>&1) ;;
    *) return 0 ;;
    esac || {
        # What stands behind the text of a script that ends before it, as of one that unpacks itself, is not for its shell to read.
        if [ "$(tr -d '\11-\15\40-\176\200-\377' <"$_pisaura_p" | wc -c)" -gt 0 ] 2>/dev/null; then return 0; fi
        _pisaura_x=$(printf %s "$_pisaura_x" | tr -s '\n ' ' ')
        printf 'the %s cannot be run: %s has a mistake: %s\n' "$_pisaura_y" "${_pisaura_p##*/}" "$_pisaura_x" >&2
        exit 1
    }
}
