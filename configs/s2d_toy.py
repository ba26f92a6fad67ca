# S2D's video stage on the toy faces: the model of s2d_toy_image.py is frozen, and prompts and
# temporal adapters are trained on clips in a few minutes on two CPU cores. The settings do not
# follow the paper.
#
#   python tools/train.py configs/s2d_toy_image.py && python tools/train.py configs/s2d_toy.py
_base_ = ['s2d_toy_image.py']
work_dir = 'work_dirs/s2d_toy'
load_from = 'work_dirs/s2d_toy_image/epoch_10.pth'
max_epochs = 8

model = dict(
    backbone=dict(with_tma=True, freeze_vit=True, zero_init_tma=True),
    cls_head=dict(num_classes=dict(_delete_=True, toy_video=7)))

test_pipeline = _base_.video_test_pipeline
train_data = [dict(
    **_base_.toy_video, ann_file='train.csv', pipeline=_base_.video_train_pipeline)]
test_data = [dict(
    **_base_.toy_video, ann_file='test.csv', pipeline=test_pipeline, test_mode=True)]
train_dataloader = dict(
    batch_sampler=dict(
        _delete_=True,
        type='MixedMediaBatchSampler',
        rates=dict(toy_video=4.)),  # clips are few: four passes in each epoch
    dataset=dict(datasets=train_data))
val_dataloader = dict(dataset=dict(datasets=test_data))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline, datasets=test_data))

optim_wrapper = dict(
    constructor='LayerDecayConstructor',  # one rate, and nothing about what is frozen
    paramwise_cfg=dict(
        _delete_=True, decay_rate=1., num_layers=4, no_decay=['temporal_embedding']))
warmup, cosine = _base_.param_scheduler
param_scheduler = [warmup, dict(cosine, end=max_epochs, T_max=max_epochs - 2)]
train_cfg = dict(max_epochs=max_epochs)
