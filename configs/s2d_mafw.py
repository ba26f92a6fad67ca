# S2D's video stage on MAFW (11 single classes), arXiv 2312.05447.
#
#   FOLD=3 bash tools/dist_train.sh configs/s2d_mafw.py 2 --amp
#
# The fold (1..5, default 1) selects the lists and the work directory.
_base_ = ['_base_/s2d_finetune.py', '_base_/s2d_vit_base.py', '_base_/s2d_100e.py']

fold = '{{$FOLD:1}}'
work_dir = f'work_dirs/s2d_mafw/fold_{fold}'

# data/MAFW/frames_crop_align_224/00025/*.png and the splits of the 11 single classes
clips = dict(
    type='ExpressionVideoDataset', task='mafw', data_root='data/MAFW',
    data_prefix=dict(media='frames_crop_align_224'))
lists = f'anno/single/no_caption/set_{fold}'

model = dict(
    # as in s2d_dfew.py
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/Pretrain-AffectNet-7.pth')),
    cls_head=dict(num_classes=dict(mafw=11)))

train_dataloader = dict(dataset=dict(datasets=[dict(**clips, ann_file=f'{lists}/train.csv')]))
test_data = [dict(**clips, ann_file=f'{lists}/test.csv', test_mode=True)]
val_dataloader = dict(dataset=dict(datasets=test_data))
test_dataloader = dict(dataset=dict(datasets=test_data))
