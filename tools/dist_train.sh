#!/usr/bin/env bash
# Train on several GPUs, or on several CPU processes where there is no GPU:
#   bash tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# Several machines: the same command on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail
case "${1:-}" in
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;;
esac
if [ $# -lt 2 ]; then echo "usage: bash $0 CONFIG GPUS [arguments of tools/train.py]" >&2; exit 2; fi
tools=$(cd -- "$(dirname "${BASH_SOURCE[0]}")" > /dev/null && pwd)
CONFIG=$1 GPUS=$2
shift 2
exec bash "$tools/launch.sh" "$GPUS" "$tools/train.py" "$CONFIG" --launcher pytorch "$@"
