# UniLearn's pre-training on the toy faces: a tiny encoder learns to fill in masked patches of 8 x 8
# pixels in images and clips, in about three minutes on two CPU cores. The settings do not follow
# the paper.
#
#   python tools/data/make_toy_faces.py && python tools/train.py configs/unilearn_toy_pretrain.py
_base_ = ['_base_/default_runtime.py']

work_dir = 'work_dirs/unilearn_toy_pretrain'
data_root = '{{$TOY_DATA:data/toy}}'  # TOY_DATA=... reads another toy set
max_epochs = 4
clip_len = 8
size = 64  # pixels; the faces have 96

model = dict(
    type='DualModalMAE',
    data_preprocessor=dict(
        type='MixedMediaPreprocessor', mean=[127.5, 127.5, 127.5], std=[63., 63., 63.]),
    backbone=dict(
        type='VisionTransformerMoAE',
        img_size=size,
        patch_size=8,
        num_frames=clip_len,
        tubelet_size=2,
        embed_dims=128,
        depth=4,
        num_heads=4,
        moae=None,
        use_mean_pooling=False,
        init_cfg=[
            dict(type='Xavier', layer='Linear', distribution='uniform'),
            dict(type='Constant', layer='LayerNorm', val=1., bias=0.)
        ]),
    neck=dict(
        type='MAEDecoder',
        in_channels=128,
        embed_dims=96,
        depth=2,
        num_heads=4,
        patch_values=384,  # 3 channels x 2 frames x 8 x 8 pixels
        table_grid=(4, 8, 8)),
    head=dict(type='PixelReconstructionHead', patch_size=8, tubelet_size=2),
    # the paper's 0.90 and 0.95 would leave 6 of 64 and 12 of 256 patches
    mask_ratio=dict(image=0.5, video=0.7))

views = [
    dict(type='RandomResizedCrop', area_range=(0.7, 1.0)),
    dict(type='Resize', scale=(size, size), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5)
]
pack = [
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=_base_.meta_keys)
]
test_transforms = [
    dict(type='DecodeClip'),
    dict(type='Resize', scale=(size, size), keep_ratio=False), *pack
]
video_train_pipeline = [
    dict(type='OpenClip'),
    dict(type='UniformSample', clip_len=clip_len),
    dict(type='DecodeClip'),
    dict(type='RepeatAugment', times=2, transforms=views), *pack
]
video_test_pipeline = [
    dict(type='OpenClip'),
    dict(type='UniformSample', clip_len=clip_len, test_mode=True), *test_transforms
]
image_train_pipeline = [
    dict(type='OpenClip'),
    dict(type='SampleFrames', clip_len=1),
    dict(type='DecodeClip'), *views, *pack
]
image_test_pipeline = [
    dict(type='OpenClip'),
    dict(type='SampleFrames', clip_len=1, test_mode=True), *test_transforms
]
test_pipeline = video_test_pipeline  # what MMAction2's inference does with a clip

toy_video = dict(
    type='ExpressionVideoDataset',
    task='toy_video',
    data_root=f'{data_root}/toy_video',
    data_prefix=dict(media='clips'))
toy_image = dict(
    type='ExpressionImageDataset',
    task='toy_image',
    data_root=f'{data_root}/toy_image',
    data_prefix=dict(media='images'))

train_dataloader = dict(
    batch_size=6,  # clips, 12 samples
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(
        type='MixedMediaBatchSampler',
        batch_sizes=dict(toy_image=48),
        rates=dict(toy_video=2., toy_image=1.)),
    dataset=dict(
        type='MixedMediaDataset',
        datasets=[  # the labels are not used
            dict(**toy_video, ann_file='train.csv', pipeline=video_train_pipeline),
            dict(**toy_image, ann_file='train.txt', pipeline=image_train_pipeline)
        ]))
val_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    batch_sampler=dict(type='MixedMediaBatchSampler', test_mode=True),
    dataset=dict(
        type='MixedMediaDataset',
        pipeline=test_pipeline,
        datasets=[
            dict(**toy_video, ann_file='test.csv', pipeline=video_test_pipeline, test_mode=True),
            dict(**toy_image, ann_file='test.txt', pipeline=image_test_pipeline, test_mode=True)
        ]))
test_dataloader = val_dataloader
val_evaluator = dict(type='ReconstructionMetric')  # predicting zero costs about 1
test_evaluator = val_evaluator

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=3e-3, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.))
auto_scale_lr = dict(enable=False, base_batch_size=6)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=80),
    dict(
        type='CosineAnnealingLR', eta_min_ratio=0.01, T_max=max_epochs, convert_to_iter_based=True)
]
train_cfg = dict(type='ResumableTrainLoop', max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
custom_hooks = [*_base_.custom_hooks, dict(type='ReconstructionHook')]  # pictures in vis_data/
