# by_hand_end.sh: how `heal` ends.
wait
if [ $_pisaura_s = 0 ]; then echo healed; else echo "not healed: the reverter ended with status $_pisaura_s" >&2; fi
exit $_pisaura_s
