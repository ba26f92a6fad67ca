#!/usr/bin/env bash
# torchrun with MMAction2's environment variables: launch.sh GPUS SCRIPT [arguments]
# Used by dist_train.sh and dist_test.sh.
set -euo pipefail
if [ $# -lt 2 ] || [ "$1" = --help ] || [ "$1" = -h ]; then
    echo "usage: $(basename "$0") GPUS SCRIPT [arguments of the script]"
    echo "NNODES, NODE_RANK, MASTER_ADDR and PORT are for several machines; PYTHON is the interpreter."
    [ $# -gt 0 ] && [ "${1#-}" != "$1" ] && exit 0
    exit 2
fi
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
