#!/usr/bin/env bash
# Train under SLURM, one task per GPU:
#   [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 GRACE=90 SBATCH_ARGS=... SRUN_ARGS=...] \
#       bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
# GRACE seconds before the time limit, the run saves and the job is queued again, as often as it
# takes (PreemptionHook; a validation is finished first, so GRACE must be longer than one). When
# SLURM preempts it, the partition's GraceTime counts. A job that is queued again goes on from its
# newest checkpoint. The log is slurm-JOBID.out; jobs of an array (SBATCH_ARGS=--array=1-5) tell
# themselves apart by SLURM_ARRAY_TASK_ID, for instance {{$SLURM_ARRAY_TASK_ID:1}} in a config.
set -euo pipefail
case "${1:-}" in
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;;
esac
if [ $# -lt 3 ]; then
    echo "usage: bash $0 PARTITION JOB_NAME CONFIG [arguments of tools/train.py]" >&2; exit 2
fi
tools=$(cd -- "$(dirname "${BASH_SOURCE[0]}")" > /dev/null && pwd)
PARTITION=$1 JOB_NAME=$2
shift 2
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
gres=()
if [ "$GPUS_PER_NODE" != 0 ]; then gres=("--gres=gpu:$GPUS_PER_NODE"); fi
train=$(printf '%q ' "${PYTHON:-python}" -u "$tools/train.py" "$@" --launcher slurm)
# SBATCH_ARGS is meant to be split into words
# shellcheck disable=SC2086
exec sbatch --partition="$PARTITION" --job-name="$JOB_NAME" "${gres[@]}" \
    --ntasks="${GPUS:-8}" --ntasks-per-node="${TASKS_PER_NODE:-$GPUS_PER_NODE}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --requeue --open-mode=append \
    --signal="USR1@${GRACE:-90}" ${SBATCH_ARGS:-} << JOB
#!/usr/bin/env bash
# any port does, but all tasks must agree on it; jobs that share a node need different ones
export MASTER_PORT=\${MASTER_PORT:-\$((12000 + SLURM_JOB_ID % 20000))}
resume=
if [ "\${SLURM_RESTART_COUNT:-0}" != 0 ]; then resume=--resume; fi
srun --kill-on-bad-exit=1 ${SRUN_ARGS:-} $train \$resume
code=\$?
# 85: saved; 138: SIGUSR1 came before the training had begun
if [ \$code = 85 ] || [ \$code = 138 ]; then
    job=\$SLURM_JOB_ID
    if [ -n "\${SLURM_ARRAY_JOB_ID:-}" ]; then job=\${SLURM_ARRAY_JOB_ID}_\$SLURM_ARRAY_TASK_ID; fi
    echo "preempted: job \$job is queued again"
    scontrol requeue "\$job"
fi
exit \$code
JOB
