#!/bin/bash
# sbatch examples/cluster/slurm.sh: one Ray over the nodes of an allocation, then the run, then everything ends with the job.
# Not run here: there was no Slurm at hand. The checkout and its .venv must lie on a file system that all nodes share.
#SBATCH --job-name=scope
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=96
#SBATCH --exclusive
#SBATCH --time=24:00:00
set -euo pipefail
cd "${SLURM_SUBMIT_DIR}"

nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}'):6379

srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap .venv/bin/ray start --head --port 6379 --num-gpus 8 --block &
sleep 20
for node in "${nodes[@]:1}"; do
    srun --nodes=1 --ntasks=1 --nodelist="$node" --overlap .venv/bin/ray start --address "$address" --num-gpus 8 --block &
done
sleep 20

# the driver sits on the head; the same command goes on after a time limit, from the last checkpoint
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap .venv/bin/scope-train run --config examples/scope_qwen3_1.7b.yaml ray.address=auto \
    openrlhf.actor.num_nodes=2 openrlhf.vllm.num_engines=8 teacher.replicas=8
