# What happens to the frames of a clip or an image in UniLearn's fine-tuning, between the choice of
# frames and the batch (official code: datasets/kinetics.py, s4d/sfer/__init__.py). All draws are
# shared by the frames of a clip. Normalisation, erasing and mixing follow in the preprocessor.
_base_ = ['default_runtime.py']

pack = [
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=_base_.meta_keys)
]
video_train_transforms = [
    dict(type='DecodeClip'),
    dict(type='AntialiasResize', scale=(160, 160)),
    # rand-m7-n4-mstd0.5-inc1, bicubic
    dict(type='ClipRandAugment', magnitude=7, num_layers=4, magnitude_std=0.5, prob=0.5),
    dict(type='RandomResizedCrop', area_range=(0.08, 1.0)),
    dict(type='Resize', scale=(160, 160), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5), *pack
]
video_test_transforms = [
    dict(type='DecodeClip'),
    dict(type='AntialiasResize', scale=(160, 160)), *pack
]

image_train_pipeline = [
    dict(type='OpenClip'),
    dict(type='SampleFrames', clip_len=1),
    dict(type='DecodeClip'),
    dict(type='AntialiasResize', scale=(192, 192)),
    dict(type='RandomCrop', size=160),
    dict(type='Flip', flip_ratio=0.5),
    # magnitude 9, 2 operations, bilinear or bicubic at random
    dict(
        type='ClipRandAugment', magnitude=9, num_layers=2, magnitude_std=0.5, prob=0.5,
        interpolation='random'), *pack
]
image_test_pipeline = [
    dict(type='OpenClip'),
    dict(type='SampleFrames', clip_len=1, test_mode=True),
    dict(type='DecodeClip'),
    dict(type='AntialiasResize', scale=(160, 160)), *pack
]
