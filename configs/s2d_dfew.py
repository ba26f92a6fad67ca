# S2D's video stage on DFEW, arXiv 2312.05447.
#
#   FOLD=3 bash tools/dist_train.sh configs/s2d_dfew.py 2 --amp
#   python tools/test.py configs/s2d_dfew.py OFFICIAL_OR_OWN_CHECKPOINT
#
# The fold (1..5, default 1) selects the lists and the work directory.
_base_ = ['_base_/s2d_finetune.py', '_base_/s2d_vit_base.py', '_base_/s2d_100e.py']

fold = '{{$FOLD:1}}'
work_dir = f'work_dirs/s2d_dfew/fold_{fold}'

# data/DFEW/Clip/clip_224x224_16f/00001/*.jpg (the data set's own 16 frames), published splits
clips = dict(
    type='ExpressionVideoDataset', task='dfew', data_root='data/DFEW',
    data_prefix=dict(media='Clip/clip_224x224_16f'))
train_list = f'EmoLabel_DataSplit/train(single-labeled)/train_set_{fold}.csv'
test_list = f'EmoLabel_DataSplit/test(single-labeled)/test_set_{fold}.csv'

model = dict(
    # what a training starts from: the published model of the image stage (link in the official
    # README), or a checkpoint of s2d_sfer_affectnet7.py; not needed for a test
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/Pretrain-AffectNet-7.pth')),
    cls_head=dict(num_classes=dict(dfew=7)))

# the clips have 16 frames, so that all official views of a test are the same: one is enough
test_pipeline = _base_.val_pipeline

train_dataloader = dict(dataset=dict(datasets=[dict(**clips, ann_file=train_list)]))
test_data = [dict(**clips, ann_file=test_list, test_mode=True)]
val_dataloader = dict(dataset=dict(datasets=test_data))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline, datasets=test_data))
