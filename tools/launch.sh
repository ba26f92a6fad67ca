#!/usr/bin/env bash
# torchrun with MMAction2's environment variables:
#   bash tools/launch.sh GPUS SCRIPT [arguments]
# Several machines: the same command on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
# Used by dist_train.sh and dist_test.sh.
set -euo pipefail
case "${1:-}" in
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;;
esac
if [ $# -lt 2 ]; then echo "usage: bash $0 GPUS SCRIPT [arguments]" >&2; exit 2; fi
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
