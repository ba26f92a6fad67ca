# The toy faces of tools/data/make_toy_faces.py: clips and images, what happens to them, and a
# schedule for tiny models that train in minutes on two CPU cores. The settings do not follow any
# paper.
_base_ = ['default_runtime.py']

data_root = '{{$TOY_DATA:data/toy}}'  # TOY_DATA=... reads another toy set
max_epochs = 16
clip_len = 8  # frames spread over the whole clip: onset, apex and offset
size = 64  # pixels; the faces have 96

train_transforms = [
    dict(type='DecodeClip'),
    dict(type='RandomResizedCrop', area_range=(0.7, 1.0)),  # one box per clip
    dict(type='Resize', scale=(size, size), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=_base_.meta_keys)
]
test_transforms = [
    dict(type='DecodeClip'),
    dict(type='Resize', scale=(size, size), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=_base_.meta_keys)
]
video_train_pipeline = [
    dict(type='OpenClip'),
    dict(type='UniformSample', clip_len=clip_len), *train_transforms
]
video_test_pipeline = [
    dict(type='OpenClip'),
    dict(type='UniformSample', clip_len=clip_len, test_mode=True), *test_transforms
]
image_train_pipeline = [
    dict(type='OpenClip'),
    dict(type='SampleFrames', clip_len=1), *train_transforms
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
    batch_size=16,  # clips
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(
        type='MixedMediaBatchSampler',
        batch_sizes=dict(toy_image=64),
        rates=dict(toy_video=4., toy_image=1.)),  # clips are few: four passes in each epoch
    dataset=dict(
        type='MixedMediaDataset',
        datasets=[
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

val_evaluator = dict(type='WARUARMetric')
test_evaluator = dict(type='WARUARMetric', prediction_file='predictions.csv')

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.),
    clip_grad=dict(max_norm=1.0))
auto_scale_lr = dict(enable=False, base_batch_size=16)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=2, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=2,
        end=max_epochs,
        T_max=max_epochs - 2,
        convert_to_iter_based=True)
]
train_cfg = dict(type='ResumableTrainLoop', max_epochs=max_epochs, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# what a prediction scores at once: clips have 24 to 40 frames, at 25 a second
prediction = dict(
    fps=25,
    frames=32,
    caution='toy model, trained on drawn faces: its labels of real faces mean nothing')
