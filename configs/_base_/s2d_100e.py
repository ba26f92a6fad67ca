# Schedule of S2D's video stage (official code, scripts/ft_dfew.sh and run_class_finetuning.py): 100
# epochs, 2 of them warm-up, AdamW on what is not frozen.
max_epochs = 100
warmup_epochs = 2

# lr = 1e-5 * (8 clips * GPUs) / 8 clips; written for 2 GPUs. Another number: --auto-scale-lr
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    # one rate for all that is trained; no weight decay for vectors, biases and positions
    constructor='LayerDecayConstructor',
    paramwise_cfg=dict(decay_rate=1., num_layers=12, no_decay=['temporal_embedding']))
auto_scale_lr = dict(enable=False, base_batch_size=16)  # clips: 8 on each of 2 GPUs

param_scheduler = [
    # the official warm-up starts at 0, which LinearLR refuses
    dict(type='LinearLR', start_factor=1e-6, end=warmup_epochs, convert_to_iter_based=True),
    # the official end is 1e-8 * 16 clips / 256, for whatever reason
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=6.25e-10 / 2e-5,
        begin=warmup_epochs,
        end=max_epochs,
        T_max=max_epochs - warmup_epochs,
        convert_to_iter_based=True)
]

train_cfg = dict(type='ResumableTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
