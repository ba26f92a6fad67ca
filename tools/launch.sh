#!/usr/bin/env bash
# torchrun with MMAction2's environment variables: launch.sh GPUS SCRIPT [arguments]
# Used by dist_train.sh and dist_test.sh.
set -euo pipefail
GPUS=$1
shift
NNODES=${NNODES:-1}
if [ "$NNODES" = 1 ] && [ -z "${PORT:-}" ]; then
    rendezvous=(--standalone)  # picks a free port, so that runs on one machine do not collide
else
    rendezvous=(--nnodes "$NNODES" --node_rank "${NODE_RANK:-0}"
                --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "${PORT:-29500}")
fi
tools=$(cd -- "$(dirname "${BASH_SOURCE[0]}")" > /dev/null && pwd)
exec "${PYTHON:-python}" "$tools/launch.py" "${rendezvous[@]}" --nproc_per_node "$GPUS" "$@"
