#!/bin/sh
# A Ray cluster of three nodes on this machine, each with one (logical) GPU: what `make cluster-up` and `make cluster-down` run.
# On real machines: the first `ray start` on the head, the second on every other node, with that node's own GPUs.
set -eu
bin=${BIN:-.venv/bin}
port=${RAY_PORT:-6379}
export RAY_prestart_worker_first_driver=0

case ${1:-} in
up)
    # the dashboard on loopback; Ray's other ports are open to this machine's network, as everywhere with Ray: stay behind a firewall
    "$bin/ray" start --head --port "$port" --num-gpus 1 --num-cpus 2 --object-store-memory 300000000 \
        --dashboard-host 127.0.0.1 --disable-usage-stats >/dev/null
    for node in 1 2; do
        # nodes of one machine share its address, so each needs ports of its own
        "$bin/ray" start --address "127.0.0.1:$port" --num-gpus 1 --num-cpus 2 --object-store-memory 300000000 \
            --dashboard-agent-listen-port $((52365 + node)) --disable-usage-stats >/dev/null
    done
    "$bin/ray" status --address "127.0.0.1:$port"
    ;;
down)
    "$bin/ray" stop 2>/dev/null | tail -n 1
    ;;
*)
    echo "usage: $0 up|down" >&2
    exit 2
    ;;
esac
