# What happens to clips and their sound in MMA-DFER: one frame of each of 16 parts of a clip, draws
# shared by all frames, and the log-mel features of the clip's first 5.1 seconds, at the sampling
# rate of its own file. A recipe adds its data: `datasets` of the three loaders.
#
# Two settings for every recipe:
#   --cfg-options model.data_preprocessor.modalities=imgs,  tests (or trains) on frames alone,
#                                                  audios,  on sound alone
#   --cfg-options model.data_preprocessor.modality_dropout.imgs=0.1
#                 model.data_preprocessor.modality_dropout.audios=0.1
#     trains for clips that lack one: a tenth of them shown without frames, a tenth without sound
_base_ = ['default_runtime.py', 'loaders.py']

# FRAME_ORDER=lexicographic reads frames 0, 1, 10, 100, ..., as the official code does with the
# unpadded names of MAFW's faces; natural is that of time
open_clip = dict(type='OpenClip', frame_order='{{$FRAME_ORDER:natural}}')
pack = [
    dict(type='FormatShape', input_format='NCTHW'),
    dict(
        type='PackActionInputs',
        collect_keys=('imgs', 'audios'),
        meta_keys=(*_base_.meta_keys, 'sound'))
]
decode_sound = dict(type='DecodeSound', of='clip')  # of='views': what the frames show
sound = [decode_sound, dict(type='SoundFbank', num_frames=512, missing='zeros')]

train_pipeline = [
    open_clip,
    dict(type='SegmentFrames', clip_len=16), *sound,
    dict(type='DecodeClip'),
    dict(type='ColorJitter', brightness=0.5, contrast=0., saturation=0., hue=0.),
    # the official aspect is uniform in 3/4..4/3 and turned in half of the clips, here log-uniform
    dict(type='RandomResizedCrop', area_range=(0.08, 1.0)),
    dict(type='AntialiasResize', scale=(224, 224)),
    dict(type='Flip', flip_ratio=0.5), *pack
]
test_pipeline = [
    open_clip,
    dict(type='SegmentFrames', clip_len=16, test_mode=True), *sound,
    dict(type='DecodeClip'),
    dict(type='AntialiasResize', scale=(224, 224)), *pack
]

train_dataloader = dict(
    batch_size=8,  # clips on each GPU; --auto-scale-lr reads it
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
