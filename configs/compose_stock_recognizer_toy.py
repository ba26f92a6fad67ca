# Our backbone in a stock MMAction2 model: Recognizer3D and TimeSformerHead, which know nothing of
# tasks or of the experts' balance loss (so it is not trained here).
_base_ = ['unilearn_toy.py']
work_dir = 'work_dirs/compose_stock_recognizer_toy'

model = dict(
    type='Recognizer3D',
    cls_head=dict(
        _delete_=True, type='TimeSformerHead', in_channels=128, num_classes=7,
        average_clips='prob'))

clips = _base_.train_dataloader.dataset.datasets[:1]
test_clips = _base_.val_dataloader.dataset.datasets[:1]
train_dataloader = dict(
    batch_sampler=dict(_delete_=True, type='MixedMediaBatchSampler'),
    dataset=dict(datasets=clips))
val_dataloader = dict(dataset=dict(datasets=test_clips))
test_dataloader = val_dataloader
