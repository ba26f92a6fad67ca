# unilearn_toy.py with the patches of unilearn_toy_pretrain.py (8 x 8 pixels) and a short schedule,
# to see what pre-training is worth (rows 5 and 6 of tools/analysis/run_claims.py). From scratch;
# --cfg-options load_from=work_dirs/unilearn_toy_pretrain/epoch_4.pth starts from the pre-training.
_base_ = ['unilearn_toy.py']
work_dir = 'work_dirs/unilearn_toy_finetune'
max_epochs = 5  # smaller patches are four times as many tokens

model = dict(backbone=dict(patch_size=8))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=1, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=1,
        end=max_epochs,
        T_max=max_epochs - 1,
        convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
