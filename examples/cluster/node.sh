#!/bin/sh
# What one node does for a run over several: sh examples/cluster/node.sh RANK HEAD NODES COMMAND...
# Rank 0 starts Ray, waits until NODES nodes are there, runs the command and ends Ray; its exit code is the command's.
# Every other rank waits for Ray at HEAD, joins it, and stays until it ends. Rank - is for a Ray that runs already, as
# KubeRay starts it: wait and run. Who waits longer than RAY_WAIT seconds (900) says what for, and fails.
set -eu
rank=$1 head=$2 nodes=$3
shift 3
bin=${BIN:-.venv/bin}
port=${RAY_PORT:-6379}
started=

await() { # await WHAT COMMAND...: repeats the command until it succeeds
    what=$1 until=$(($(date +%s) + ${RAY_WAIT:-900}))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$until" ] || {
            echo "error: after ${RAY_WAIT:-900} s still waiting for $what" >&2
            exit 1
        }
        [ -z "$started" ] || kill -0 "$started" || {
            echo "error: ray start has ended while this node waited for $what; its output is above" >&2
            exit 1
        }
        sleep 2
    done
}

ray_start() { # with --block it stays, and ends all that it started when it is ended
    "$bin/ray" start --disable-usage-stats --block "$@" &
    started=$!
    trap ray_end EXIT
    trap 'exit 143' TERM
}

ray_end() { # ray start may hang once all that it started has ended
    kill "$started" 2>/dev/null || return 0
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        sleep 1
        kill -0 "$started" 2>/dev/null || return 0
    done
    kill -9 "$started" 2>/dev/null || true
}

ray_answers() {
    "$bin/ray" health-check --address "$RAY_ADDRESS"
}

all_joined() {
    [ "$("$bin/ray" status --address "$RAY_ADDRESS" | grep -c '^ 1 node_')" -ge "$nodes" ]
}

case $rank in
-) ;;
0)
    export RAY_ADDRESS="127.0.0.1:$port"
    ray_start --head --port "$port"
    await "Ray at $RAY_ADDRESS" ray_answers
    ;;
*)
    export RAY_ADDRESS="$head:$port"
    await "Ray at $RAY_ADDRESS" ray_answers
    ray_start --address "$RAY_ADDRESS"
    while kill -0 "$started" 2>/dev/null; do
        sleep 10
        ray_answers >/dev/null 2>&1 || exit 0
    done
    echo "error: ray start has ended on this node, Ray at $RAY_ADDRESS goes on without it" >&2
    exit 1
    ;;
esac
await "$nodes nodes of Ray" all_joined
[ -n "$started" ] || exec "$@"
"$@"
