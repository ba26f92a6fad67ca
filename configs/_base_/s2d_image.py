# S2D's image stage: the whole ViT with prompts, no temporal adapters, is fine-tuned on images. The
# authors have published a model, but neither code nor settings. These are those of MAE's
# fine-tuning (facebookresearch/mae, FINETUNE.md) where it says "MAE", and where it says "MAE-SFER"
# those that the same group used for a plain MAE ViT on AffectNet (MSA-LMC/MAE-SFER, README).
_base_ = ['default_runtime.py', 'loaders.py', 's2d_vit_base.py']

max_epochs = 10  # MAE-SFER: "few epochs to avoid overfitting noisy labels"
warmup_epochs = 2  # ours; MAE has 5 of 100

model = dict(
    backbone=dict(
        with_tma=False,
        freeze_vit=False,
        drop_path_rate=0.1,  # MAE-SFER
        # what the training starts from: an MAE pre-training on faces, or MAE's own on ImageNet,
        # https://dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_base.pth
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/mae_pretrain_vit_base.pth')),
    cls_head=dict(dropout_ratio=0.))  # MAE

pack = [
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=_base_.meta_keys)
]
train_pipeline = [
    dict(type='OpenClip'),
    dict(type='SampleFrames', clip_len=1),
    dict(type='DecodeClip'),
    # MAE: rand-m9-mstd0.5-inc1, a crop of 8 to 100 % of the image, a flip
    dict(type='RandomResizedCrop', area_range=(0.08, 1.0)),
    dict(type='AntialiasResize', scale=(224, 224), interpolation='bicubic'),
    dict(type='Flip', flip_ratio=0.5),
    dict(
        type='ClipRandAugment', magnitude=9, num_layers=2, magnitude_std=0.5, prob=0.5,
        interpolation='random'), *pack
]
test_pipeline = [
    dict(type='OpenClip'),
    dict(type='SampleFrames', clip_len=1, test_mode=True),
    dict(type='DecodeClip'),
    dict(type='AntialiasResize', scale=(224, 224)), *pack
]

train_dataloader = dict(
    batch_size=16,  # images on each GPU; --auto-scale-lr reads it. MAE-SFER: 16, two steps in one
    dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))

# lr = 5e-4 * (16 images * GPUs) / 256 images (MAE-SFER); written for 2 GPUs. Another number:
# --auto-scale-lr
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=6.25e-5, betas=(0.9, 0.999), weight_decay=0.05),  # MAE
    # layer i of 12 gets lr * 0.65 ** (12 - i) (MAE-SFER), prompts and head the full rate
    constructor='LayerDecayConstructor',
    paramwise_cfg=dict(decay_rate=0.65, num_layers=12, no_decay=['pos_embed', 'cls_token']))
auto_scale_lr = dict(enable=False, base_batch_size=32)

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, end=warmup_epochs, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-6 / 6.25e-5,  # MAE: to 1e-6
        begin=warmup_epochs,
        end=max_epochs,
        T_max=max_epochs - warmup_epochs,
        convert_to_iter_based=True)
]

train_cfg = dict(type='ResumableTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
