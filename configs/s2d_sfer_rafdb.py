# S2D's image stage on RAF-DB. No official recipe is published; this one is s2d_sfer_affectnet7.py
# with more epochs, because there are 25 times fewer images. The number is ours.
#
#   python tools/data/prepare_rafdb.py --root data/RAF-DB/basic
#   bash tools/dist_train.sh configs/s2d_sfer_rafdb.py 2 --amp
_base_ = ['_base_/s2d_image.py']
work_dir = 'work_dirs/s2d_sfer_rafdb'
max_epochs, warmup_epochs = 50, 5

images = dict(
    type='ExpressionImageDataset', task='rafdb', data_root='data/RAF-DB/basic',
    data_prefix=dict(media='Image/aligned'))

model = dict(cls_head=dict(num_classes=dict(rafdb=7)))

train_dataloader = dict(dataset=dict(datasets=[dict(**images, ann_file='prepared/train.csv')]))
test_data = [dict(**images, ann_file='prepared/test.csv', test_mode=True)]
val_dataloader = dict(dataset=dict(datasets=test_data))
test_dataloader = dict(dataset=dict(datasets=test_data))

warmup, cosine = _base_.param_scheduler
param_scheduler = [
    dict(warmup, end=warmup_epochs),
    dict(cosine, begin=warmup_epochs, end=max_epochs, T_max=max_epochs - warmup_epochs)
]
train_cfg = dict(max_epochs=max_epochs)
