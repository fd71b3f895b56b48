#!/bin/sh
# One replica: keeps notes, and answers requests. A request is a file inbox/NAME.request with one line, `put KEY TEXT` or
# `get KEY`; its answer is the file inbox/NAME.answer.
while :; do
    for request in inbox/*.request; do
        [ -e "$request" ] || continue
        read -r verb key text <"$request"
        rm -f "$request"
        answer=${request%.request}.answer
        case $verb in
            put) printf '%s\n' "$text" >"notes/$key" && echo stored ;;
            get) cat "notes/$key" ;;
            *) echo "no such request: $verb" ;;
        esac >"$answer.part" 2>&1
        mv "$answer.part" "$answer" # whole or not at all
    done
    sleep 0.05
done
