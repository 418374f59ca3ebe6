#!/bin/bash
# sbatch examples/cluster/slurm.sh [key=value ...]: a run over the nodes of an allocation.
# IMAGE=scope:0.1.0 in the environment of sbatch runs it in the image of the Dockerfile, by the pyxis plugin; without it
# in this checkout, whose .venv (make setup PROFILE=gpu) and runs/ all nodes must share. HUB is the cache of models.
# The job goes on from its last checkpoint after a preemption and after the time limit.
# Not run on Slurm: there was none at hand. tests/run/test_cluster.py runs it with stand-ins for srun and scontrol and a
# real Ray of two nodes, up to the run's place, where scope-train plan stands; the image's part (pyxis) has not been run.
#SBATCH --job-name=scope
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=96
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
mkdir -p runs
export HF_HOME=${HUB:-${HF_HOME:-$HOME/.cache/huggingface}}
container=()
if [ -n "${IMAGE:-}" ]; then
    mkdir -p "$HF_HOME"
    container=(--container-image="$IMAGE" --container-workdir=/scope --container-mounts="$PWD/runs:/scope/runs,$HF_HOME:/hub")
    export HF_HOME=/hub
fi
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# five minutes before the time limit Slurm sends USR1 to this script: back into the queue; a preempted job goes by itself
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1
# shellcheck disable=SC2016  # the rank is known on the node alone
srun --kill-on-bad-exit=1 ${container[@]+"${container[@]}"} \
    sh -c 'exec sh examples/cluster/node.sh "$SLURM_NODEID" "$@"' node "$head" "$SLURM_JOB_NUM_NODES" \
    .venv/bin/scope-train run --config examples/scope_qwen3_1.7b.yaml ray.address=auto \
    openrlhf.actor.num_nodes=2 openrlhf.vllm.num_engines=8 teacher.replicas=8 "$@" &
step=$!
until wait "$step"; do
    code=$?
    kill -0 "$step" 2>/dev/null || exit "$code"  # else it was the signal that ended the wait
done
