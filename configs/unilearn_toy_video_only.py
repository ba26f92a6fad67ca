# Baseline of unilearn_toy.py: the same model and about as many steps (136 instead of 146 an
# epoch), all of them on clips.
_base_ = ['unilearn_toy.py']
work_dir = 'work_dirs/unilearn_toy_video_only'

model = dict(cls_head=dict(num_classes=dict(_delete_=True, toy_video=7)))
train_dataloader = dict(
    batch_sampler=dict(
        _delete_=True,
        type='MixedMediaBatchSampler',
        rates=dict(toy_video=8.)),
    dataset=dict(datasets=_base_.train_dataloader.dataset.datasets[:1]))
val_dataloader = dict(dataset=dict(datasets=_base_.val_dataloader.dataset.datasets[:1]))
test_dataloader = val_dataloader
