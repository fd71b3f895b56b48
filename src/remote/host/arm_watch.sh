# arm_watch.sh: starts the watcher, out of reach of what ends this shell.
if [ "$_pisaura_S" = 1 ]; then
    setsid /bin/sh "$_pisaura_C/watch" </dev/null >/dev/null 2>&1 &
else
    (trap '' HUP; exec /bin/sh "$_pisaura_C/watch") </dev/null >/dev/null 2>&1 &
fi
_pisaura_w=$!
_pisaura_start $_pisaura_w
_pisaura_put watcher "$_pisaura_w $_pisaura_r"
# It has to have all that it needs before the failure may take that away.
_pisaura_n=0
while _pisaura_get ready && [ "$_pisaura_r" != yes ]; do
    kill -0 $_pisaura_w 2>/dev/null || _pisaura_refuse a1 'the watcher that is to heal the host ended at once'
    _pisaura_n=$((_pisaura_n + 1))
    [ $_pisaura_n -lt 2000 ] || { sleep 0.01 2>/dev/null || sleep 1; }
    [ $_pisaura_n -lt 2500 ] || _pisaura_refuse a1 'the watcher that is to heal the host does not begin'
done
