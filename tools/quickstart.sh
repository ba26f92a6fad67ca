#!/usr/bin/env bash
# From nothing to a trained and tested model with a report:
#   bash tools/quickstart.sh            about 10 minutes on 2 CPU cores, after installation
#   bash tools/quickstart.sh --smoke    the same path in a few steps, to see that it works
# Makes .venv, installs, makes the toy faces, trains configs/unilearn_toy.py jointly on clips and
# images, tests the last checkpoint and writes a report.
set -euo pipefail
smoke=false
case "${1:-}" in
    '') ;;
    --smoke) smoke=true ;;
    *) echo "usage: bash $0 [--smoke]" >&2; exit 2 ;;
esac

started=$SECONDS
stage() { echo; echo "== [$((SECONDS - started)) s] $1"; }

stage 'environment'
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"

config=configs/unilearn_toy.py
if $smoke; then
    export TOY_DATA=data/toy_smoke  # the config reads it
    work=work_dirs/quickstart_smoke
    toy=(--video-train 28 --video-test 14 --image-train 70 --image-test 14)
    options=(--cfg-options train_cfg.max_epochs=1 train_cfg.val_interval=1)
else
    export TOY_DATA=data/toy
    work=work_dirs/unilearn_toy toy=() options=()
fi

stage "toy faces in $TOY_DATA"
python tools/data/make_toy_faces.py --out "$TOY_DATA" "${toy[@]}"

stage "training $config; checkpoints and logs in $work"
python tools/train.py "$config" --work-dir "$work" "${options[@]}"

checkpoint=$(cat "$work/last_checkpoint")
stage "testing $checkpoint"
python tools/test.py "$config" "$checkpoint" --work-dir "$work"

stage 'report'
python tools/analysis/make_report.py "$config" "$checkpoint" --work-dir "$work"
echo
echo "== done in $((SECONDS - started)) s"
