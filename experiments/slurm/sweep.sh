#!/bin/bash
#SBATCH --job-name=conductor-sweep
#SBATCH --cpus-per-task=1
# A sweep of experiments as a Slurm job array: each task does its part of the runs, one job behind them puts them together.
#
#   parts=$(sbatch --parsable --array=1-8 sweep.sh --all --out results)
#   sbatch --dependency=afterok:$parts --cpus-per-task=2 sweep.sh --all --out results
#
# The arguments are those of `conductor experiment run`, the same in both calls; `results` lies on a file system that
# all nodes share. A task that fails or is requeued goes on where it was. $CONDUCTOR is the program, if it is not in $PATH.
set -euo pipefail

part=()
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
  # Tasks may be numbered from 0 or from 1, but without gaps.
  part=(--shard "$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))/$SLURM_ARRAY_TASK_COUNT")
fi
exec "${CONDUCTOR:-conductor}" experiment run "$@" "${part[@]}" --jobs "${SLURM_CPUS_PER_TASK:-1}"
