#!/usr/bin/env bash
# Test on several GPUs, or on several CPU processes where there is no GPU:
#   bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
# Several machines: the same command on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail
case "${1:-}" in
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;;
esac
if [ $# -lt 3 ]; then echo "usage: bash $0 CONFIG CHECKPOINT GPUS [arguments of tools/test.py]" >&2; exit 2; fi
tools=$(cd -- "$(dirname "${BASH_SOURCE[0]}")" > /dev/null && pwd)
CONFIG=$1 CHECKPOINT=$2 GPUS=$3
shift 3
exec bash "$tools/launch.sh" "$GPUS" "$tools/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
