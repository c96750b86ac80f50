# Runs a server (the command in "$@") and stops it when the pipe on standard input ends, that is, when our parent is gone.
# Each line read from the pipe is a signal for the server. $GOLDSEAM_REMOVE, if set, is the folder that dies with the parent.
exec 3<&0
"$@" </dev/null >&2 3<&- &
server=$!
echo "$server"
exec >/dev/null
(
    while read -r signal <&3; do kill -s "$signal" "$server"; done
    # The parent is gone. From here on we see it through, even if the main shell below sees the server end first.
    trap '' TERM
    kill -s QUIT "$server"
    tries=0
    while kill -0 "$server" && [ "$tries" -lt 50 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    kill -s KILL "$server"
    if [ -n "$GOLDSEAM_REMOVE" ]; then
        cd /
        rm -rf "$PGDATA"
        # The last guard of the folder removes what is left of it.
        set -- "$GOLDSEAM_REMOVE"/*/postmaster.pid
        [ -e "$1" ] || rm -rf "$GOLDSEAM_REMOVE"
    fi
) 2>/dev/null &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
