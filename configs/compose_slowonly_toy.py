# A stock MMAction2 model on our data: SlowOnly-R18 with a single head, trained jointly on the toy
# clips and images. `ann_task` maps the image labels to the classes of the clips, so that stock
# heads, which know one set of classes, serve both.
_base_ = ['unilearn_toy.py']
work_dir = 'work_dirs/compose_slowonly_toy'

model = dict(
    _delete_=True,
    type='Recognizer3D',
    data_preprocessor=dict(
        type='MixedMediaPreprocessor', mean=[127.5, 127.5, 127.5], std=[63., 63., 63.]),
    backbone=dict(
        type='ResNet3dSlowOnly', depth=18, pretrained=None, conv1_kernel=(1, 7, 7),
        inflate=(0, 0, 1, 1), norm_eval=False),
    cls_head=dict(
        type='I3DHead', in_channels=512, num_classes=7, dropout_ratio=0., average_clips='prob'))

one_task = dict(task='toy_video', ann_task='toy_image', source='toy_image')
train_data = _base_.train_dataloader.dataset.datasets
test_data = _base_.val_dataloader.dataset.datasets
train_dataloader = dict(
    dataset=dict(datasets=[train_data[0], dict(train_data[1], **one_task)]))
val_dataloader = dict(dataset=dict(datasets=[test_data[0], dict(test_data[1], **one_task)]))
test_dataloader = val_dataloader
