# MMA-DFER on toy clips with voices: the eye of mma_dfer_toy_image.py is frozen; the ear, and what
# joins both, are trained on clips in a few minutes on two CPU cores. The settings do not follow
# the paper.
#
#   python tools/train.py configs/mma_dfer_toy_image.py
#   python tools/train.py configs/mma_dfer_toy.py
_base_ = ['mma_dfer_toy_image.py']
work_dir = 'work_dirs/mma_dfer_toy'
load_from = 'work_dirs/mma_dfer_toy_image/epoch_8.pth'
max_epochs = 10

model = dict(
    data_preprocessor=dict(modalities=('imgs', 'audios')),
    backbone=dict(freeze_vit=True),
    cls_head=dict(num_classes=dict(_delete_=True, toy_video=7)))

decode_sound = dict(type='DecodeSound', seconds=1.7, sample_rate=16000)
sound = [decode_sound, dict(type='SoundFbank', num_frames=160, missing='empty')]
pack = dict(
    type='PackActionInputs', collect_keys=('imgs', 'audios'),
    meta_keys=(*_base_.meta_keys, 'sound'))
train_pipeline = [
    dict(type='OpenClip'),
    dict(type='SegmentFrames', clip_len=_base_.clip_len), *sound,
    *_base_.train_transforms[:-1], pack
]
test_pipeline = [
    dict(type='OpenClip'),
    dict(type='SegmentFrames', clip_len=_base_.clip_len, test_mode=True),
    dict(decode_sound, on_missing='allow'), sound[1],
    *_base_.test_transforms[:-1], pack
]
toy_video = dict(
    type='ExpressionVideoDataset',
    task='toy_video',
    data_root=f'{_base_.data_root}/toy_video',
    data_prefix=dict(media='clips', audio='sound'))
train_dataloader = dict(
    batch_sampler=dict(_delete_=True, type='MixedMediaBatchSampler'),
    dataset=dict(datasets=[dict(**toy_video, ann_file='train.csv', pipeline=train_pipeline)]))
val_dataloader = dict(dataset=dict(
    pipeline=test_pipeline, datasets=[
        dict(**toy_video, ann_file='test.csv', pipeline=test_pipeline, test_mode=True)]))
test_dataloader = val_dataloader

warmup, cosine = _base_.param_scheduler
param_scheduler = [warmup, dict(cosine, end=max_epochs, T_max=max_epochs - 2)]
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
