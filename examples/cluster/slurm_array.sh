#!/bin/bash
# Predict over an archive with a SLURM array: 64 tasks that share one folder of results.
#
#     sbatch examples/cluster/slurm_array.sh BUNDLE INPUTS OUT
#
# A task that is killed, or that runs out of time, is requeued and goes on. The task that is the last
# to finish writes the tables. OUT must be on a file system that all nodes share and that has locks.
# The number of tasks must stay the same until all are complete.
#SBATCH --job-name=dentalzoo-predict
#SBATCH --array=0-63
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=dentalzoo-%A-%a.log
set -euo pipefail

bundle=$1 inputs=$2 out=$3

status=0
dentalzoo predict "$bundle" "$inputs" --out "$out" \
  --shards "$SLURM_ARRAY_TASK_COUNT" --shard "$SLURM_ARRAY_TASK_ID" --workers 4 || status=$?

# 1: complete, but some inputs failed; they are in OUT/manifest/failed.csv, and again would fail.
[ "$status" -le 1 ]
