# UniLearn's pre-training: masked auto-encoding of AffectNet images and VoxCeleb2 clips with one
# ViT-B/16, arXiv 2409.06154 (official code: pretrain/omnivision).
#
#   python tools/data/prepare_voxceleb2.py --root data/VoxCeleb2
#   bash tools/dist_train.sh configs/unilearn_pretrain.py 2 --amp
#
# Then fine-tune: --cfg-options load_from=work_dirs/unilearn_pretrain/epoch_100.pth
_base_ = ['_base_/default_runtime.py']
work_dir = 'work_dirs/unilearn_pretrain'
max_epochs = 100

model = dict(
    type='DualModalMAE',
    data_preprocessor=dict(
        type='MixedMediaPreprocessor',
        mean=[123.675, 116.28, 103.53],  # ImageNet, RGB, 0..255
        std=[58.395, 57.12, 57.375]),
    backbone=dict(
        type='VisionTransformerMoAE',
        arch='base',
        img_size=160,
        patch_size=16,
        num_frames=16,
        tubelet_size=2,
        moae=None,  # the experts come with fine-tuning
        use_mean_pooling=False,  # a norm after the last block instead
        init_cfg=[
            dict(type='Xavier', layer='Linear', distribution='uniform'),
            dict(type='Constant', layer='LayerNorm', val=1., bias=0.)
        ]),
    neck=dict(
        type='MAEDecoder',
        in_channels=768,
        embed_dims=384,
        depth=4,
        num_heads=6,
        patch_values=1536,  # 3 channels x 2 frames x 16 x 16 pixels
        table_grid=(8, 10, 10)),
    head=dict(type='PixelReconstructionHead', patch_size=16, tubelet_size=2),
    mask_ratio=dict(image=0.90, video=0.95))  # random over space and time

pack = [
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=_base_.meta_keys)
]
video_pipeline = [
    dict(type='OpenClip'),
    dict(type='SampleFrames', clip_len=16, frame_interval=4, out_of_bound_opt='repeat_last'),
    dict(type='DecodeClip'),
    dict(type='FixedCrop', left=32, top=0, width=160, height=160),  # of 224 x 224
    dict(type='Resize', scale=(192, 192), keep_ratio=False),
    # a clip is decoded once and makes four samples, each with its own box and mask
    dict(
        type='RepeatAugment',
        times=4,
        transforms=[
            dict(type='RandomResizedCrop', area_range=(0.08, 1.0)),
            dict(type='Resize', scale=(160, 160), keep_ratio=False)
        ]), *pack
]
image_pipeline = [
    dict(type='OpenClip'),
    dict(type='SampleFrames', clip_len=1),
    dict(type='DecodeClip'),
    dict(type='RandomResizedCrop', area_range=(0.2, 1.0)),
    dict(type='AntialiasResize', scale=(160, 160), interpolation='bicubic'),
    dict(type='Flip', flip_ratio=0.5), *pack
]
# a clip without augmentation; the training has no validation
test_pipeline = [
    dict(type='OpenClip'),
    dict(type='SampleFrames', clip_len=16, frame_interval=4, test_mode=True),
    dict(type='DecodeClip'),
    dict(type='FixedCrop', left=32, top=0, width=160, height=160),
    dict(type='Resize', scale=(160, 160), keep_ratio=False), *pack
]

train_dataloader = dict(
    batch_size=48,  # clips on each GPU, 192 samples
    num_workers=10,
    persistent_workers=True,
    timeout=300,  # seconds; a file that hangs the decoder ends the run with its name
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(
        type='MixedMediaBatchSampler',
        batch_sizes=dict(affectnet7=192),
        rates=dict(voxceleb2=0.25, affectnet7=1.)),  # a fresh quarter of the clips in each epoch
    dataset=dict(
        type='MixedMediaDataset',
        on_unreadable='replace',  # counted, named and bounded by ReadFailureHook
        datasets=[
            dict(
                type='ExpressionVideoDataset',
                task='unlabelled',
                source='voxceleb2',
                data_root='data/VoxCeleb2',
                ann_file='prepared/voxceleb2_dev.csv',
                data_prefix=dict(media='dev/mp4'),
                pipeline=video_pipeline),
            dict(  # the labels are not used
                type='ExpressionImageDataset',
                task='affectnet7',
                data_root='data/AffectNetdataset',
                ann_file='train_affectnet7_2w.txt',
                data_prefix=dict(media='Manually_Annotated_Images'),
                pipeline=image_pipeline)
        ]))

# lr = 1.6e-3 * (192 samples * GPUs) / 512 samples; written for 2 GPUs. Another number:
# --auto-scale-lr
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1.2e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.05),
    # as in the official code, the biases of query and value and the mask token are decayed
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.))
auto_scale_lr = dict(enable=False, base_batch_size=96)  # clips: 48 on each of 2 GPUs
# The official cosine runs over the whole training, the linear warm-up over its first 5 epochs.
# Here they multiply: in the warm-up the rate is at most 0.6 % lower than the official one.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6 / 1.2e-3, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=0., convert_to_iter_based=True)
]
train_cfg = dict(type='ResumableTrainLoop', max_epochs=max_epochs, val_interval=max_epochs)
default_hooks = dict(checkpoint=dict(interval=10))
