#!/usr/bin/env bash
# Train under SLURM, one task per GPU:
#   [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] \
#       bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: bash $0 PARTITION JOB_NAME CONFIG [arguments of tools/train.py]" >&2; exit 2
fi
tools=$(cd -- "$(dirname "${BASH_SOURCE[0]}")" > /dev/null && pwd)
PARTITION=$1 JOB_NAME=$2 CONFIG=$3
shift 3
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
# any port does, but all tasks of the job must agree on it
export MASTER_PORT=${MASTER_PORT:-$((12000 + RANDOM % 20000))}
# SRUN_ARGS is meant to be split into words
# shellcheck disable=SC2086
exec srun --partition="$PARTITION" --job-name="$JOB_NAME" --gres="gpu:$GPUS_PER_NODE" \
    --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$tools/train.py" "$CONFIG" --launcher slurm "$@"
