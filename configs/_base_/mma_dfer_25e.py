# Schedule of MMA-DFER (the paper and the official code): 25 epochs in fp32, AdamW on what is not
# frozen, a cosine by epochs down to 0.
max_epochs = 25

# written for one GPU with 8 clips. Another number: --auto-scale-lr (ours: the official code knows
# one batch size)
optim_wrapper = dict(
    # gates, biases, norms, prompts and positions decay too
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=1e-2))
auto_scale_lr = dict(enable=False, base_batch_size=8)

param_scheduler = [
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=0., by_epoch=True)
]

train_cfg = dict(type='ResumableTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
