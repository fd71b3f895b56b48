# over_ssh.sh: how a text that reverts over SSH tells what it finds: by marks. When the text began, and when somebody else has
# healed the host, are both told by the host's clock.
_pisaura_tell() {
    case $1 in
    waits) ;;
    [wot]) case $2 in *[!0-9]*) _pisaura_mark "$1" -1 ;; *) _pisaura_mark "$1" "$2" ;; esac ;;
    z) _pisaura_mark z 1 ;;
    i) case $2:$_pisaura_b in -:*) ;; *[!0-9]*:rebooted) _pisaura_mark i -2 ;; *[!0-9]*:*) _pisaura_mark i -1 ;; *) _pisaura_mark i "$2" ;; esac ;;
    *) _pisaura_mark "$@" ;;
    esac
}
