# who.sh: which shell runs this text, so that it can be ended from beside: its number, and what makes that its own. What it runs bears that,
# too.
_pisaura_start $$
[ "$_pisaura_r" = - ] || _pisaura_mark s "$_pisaura_r"
_pisaura_mark p $$
export PISAURA_BY="$$:$_pisaura_r"
