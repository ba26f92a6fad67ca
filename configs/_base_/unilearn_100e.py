# Fine-tuning schedule of the official code (s4d/run_class_finetuning.py): 100 epochs, 5 of them
# warm-up, AdamW, layer-wise decay 0.75, cosine to 1/320 of the peak.
max_epochs = 100
warmup_epochs = 5

# lr = 1e-5 * (16 clips * GPUs) / 8 clips; written for 2 GPUs. Another number: --auto-scale-lr
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=4e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    # block i gets lr * 0.75 ** (12 - i), the patch embedding 0.75 ** 13, the heads 1; no weight
    # decay for vectors and biases
    constructor='LayerDecayConstructor',
    # full_rate=['.moae.'] would train the new experts at the rate of the heads instead of their
    # block's, which is what the official code does
    paramwise_cfg=dict(decay_rate=0.75, num_layers=12))
auto_scale_lr = dict(enable=False, base_batch_size=32)  # clips: 16 on each of 2 GPUs

param_scheduler = [
    # the official warm-up starts at 0, which LinearLR refuses
    dict(type='LinearLR', start_factor=1e-6, end=warmup_epochs, convert_to_iter_based=True),
    # a ratio, because every layer has its own peak: (1e-6 / 256) / (1e-5 / 8)
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1 / 320,
        begin=warmup_epochs,
        end=max_epochs,
        T_max=max_epochs - warmup_epochs,
        convert_to_iter_based=True)
]

train_cfg = dict(type='ResumableTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
