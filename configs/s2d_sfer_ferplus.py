# S2D's image stage on FERPlus (8 classes, labels by majority vote). No official recipe is
# published; this one is that for RAF-DB.
#
#   python tools/data/prepare_ferplus.py --root data/FERPlus
#   bash tools/dist_train.sh configs/s2d_sfer_ferplus.py 2 --amp
_base_ = ['s2d_sfer_rafdb.py']
work_dir = 'work_dirs/s2d_sfer_ferplus'

images = dict(
    type='ExpressionImageDataset', task='ferplus', data_root='data/FERPlus',
    data_prefix=dict(media='data'))

model = dict(cls_head=dict(num_classes=dict(_delete_=True, ferplus=8)))

train_dataloader = dict(dataset=dict(datasets=[dict(**images, ann_file='prepared/train.csv')]))
test_data = [dict(**images, ann_file='prepared/test.csv', test_mode=True)]
val_dataloader = dict(dataset=dict(datasets=test_data))
test_dataloader = dict(dataset=dict(datasets=test_data))
