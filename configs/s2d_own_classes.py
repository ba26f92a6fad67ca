# S2D's video stage on clips of your own, with classes of your own; configs/own_videos.md is the way
# there from raw videos. Only prompts, adapters and head are trained, 9 of 95 million parameters, so
# that a few hundred clips are worth a try.
#
#   data/own/clips/calm/0001/000000.jpg ...      or 0001.mp4: faces, cut out upright
#   data/own/lists/train.csv, validation.csv     sample_id,path,label
#
#   python tools/train.py configs/s2d_own_classes.py
_base_ = ['_base_/s2d_finetune.py', '_base_/s2d_vit_base.py', '_base_/s2d_100e.py']
work_dir = 'work_dirs/s2d_own_classes'

data_root = 'data/own'
classes = ['calm', 'tense', 'tired']  # ids 0, 1, 2 in lists and predictions

model = dict(
    # as in s2d_dfew.py; a file of its video stage serves too, its head excepted
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/Pretrain-AffectNet-7.pth')),
    cls_head=dict(num_classes=dict(own=len(classes))))

clips = dict(
    type='ExpressionVideoDataset',
    task='own',  # any name that label_spaces.py does not have
    classes=classes,  # or a file: 'classes.txt', in data_root
    data_root=data_root,
    data_prefix=dict(media='clips'))
train_dataloader = dict(
    batch_sampler=dict(balanced=['own']),  # the classes are drawn equally often
    dataset=dict(datasets=[dict(**clips, ann_file='lists/train.csv')]))
test_data = [dict(**clips, ann_file='lists/validation.csv', test_mode=True)]
val_dataloader = dict(dataset=dict(datasets=test_data))
test_dataloader = dict(dataset=dict(datasets=test_data))
