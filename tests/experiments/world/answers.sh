#!/bin/sh
# Whether the shop answers: it has a pod, is not cut off from its database, and answers within a second.
cd "$WORLD" || exit 2
set -- pods/*
[ -e "$1" ] || { echo 'no pod answers' >&2; exit 1; }
[ ! -e policy ] || { echo 'the database cannot be reached' >&2; exit 1; }
case $(cat delay 2>/dev/null) in
'' | *ms) ;;
*) echo 'it answers after more than a second' >&2; exit 1 ;;
esac
