#!/bin/sh
# A Ray cluster of three nodes on this machine, each with one (logical) GPU: what `make cluster-up` and `make cluster-down` run.
# On real machines: `ray start --head` on one and `ray start --address HEAD:6379` on every other, with that node's own GPUs.
# It listens on loopback alone, so `make submit` is the way in: a job gets from its node what it needs to find the others.
set -eu
bin=${BIN:-.venv/bin}
port=${RAY_PORT:-6379}
export RAY_prestart_worker_first_driver=0

ray() {
    "$bin/python" -m scope_openrlhf.platform.loopback "$@"
}

case ${1:-} in
up)
    export SCOPE_LOCAL_CLUSTER="$port"  # by which `down` knows what it may end
    ray start --head --node-ip-address 127.0.0.1 --port "$port" --num-gpus 1 --num-cpus 2 --object-store-memory 300000000 \
        --dashboard-host 127.0.0.1 --disable-usage-stats >/dev/null
    for node in 1 2; do
        # nodes of one machine share its address, so each needs ports of its own
        ray start --address "127.0.0.1:$port" --node-ip-address 127.0.0.1 --num-gpus 1 --num-cpus 2 --object-store-memory 300000000 \
            --dashboard-agent-listen-port $((52365 + node)) --disable-usage-stats >/dev/null
    done
    ray status --address "127.0.0.1:$port"
    ;;
down)
    "$bin/python" -m scope_openrlhf.platform.cluster "$port" 2>/dev/null
    ;;
*)
    echo "usage: $0 up|down" >&2
    exit 2
    ;;
esac
