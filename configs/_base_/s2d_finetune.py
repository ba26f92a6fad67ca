# What happens to clips in S2D's video stage (official code: datasets/kinetics.py). All draws are
# shared by the frames of a clip. Normalisation, erasing and mixing follow in the preprocessor. A
# recipe adds its data: `datasets` of the three loaders.
_base_ = ['default_runtime.py', 'loaders.py']

pack = [
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=_base_.meta_keys)
]
resize = dict(type='AntialiasResize', scale=(224, 224))

# 16 frames in a row, from anywhere in the clip (the official code never takes the very last one)
train_pipeline = [
    dict(type='OpenClip'),
    dict(type='LinspaceFrames', clip_len=16, frame_interval=1),
    dict(type='DecodeClip'), resize,
    # rand-m7-n4-mstd0.5-inc1, bicubic
    dict(type='ClipRandAugment', magnitude=7, num_layers=4, magnitude_std=0.5, prob=0.5),
    dict(type='RandomResizedCrop', area_range=(0.08, 1.0)),  # a comment of the official code: 0.8
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5), *pack
]
# validation: the window in the middle (the official one is drawn anew in each epoch); test: the
# official two, at the begin and the end (its two crops are the same pixels, so they are left out)
val_pipeline = [
    dict(type='OpenClip'),
    dict(type='WindowFrames', clip_len=16, frame_interval=1),
    dict(type='DecodeClip'), resize, *pack
]
test_pipeline = [
    dict(type='OpenClip'),
    dict(type='WindowFrames', clip_len=16, frame_interval=1, num_clips=2),
    dict(type='DecodeClip'), resize, *pack
]

train_dataloader = dict(
    batch_size=8,  # clips on each GPU; --auto-scale-lr reads it
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=16, dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(batch_size=16, dataset=dict(pipeline=test_pipeline))

# what a prediction scores at once: 16 frames in a row (datasets/kinetics.py, 25 a second)
prediction = dict(fps=25, frames=16)
