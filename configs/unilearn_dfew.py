# UniLearn fine-tuned jointly on DFEW (video) and AffectNet-7 (images), arXiv 2409.06154.
#
#   FOLD=3 bash tools/dist_train.sh configs/unilearn_dfew.py 2 --amp
#
# The fold (1..5, default 1) selects the lists and the work directory.
#
# Not here yet: published pre-training weights; set load_from to a checkpoint of your own.
_base_ = [
    '_base_/unilearn_joint.py', '_base_/unilearn_vit_base.py', '_base_/unilearn_100e.py'
]

fold = '{{$FOLD:1}}'
work_dir = f'work_dirs/unilearn_dfew/fold_{fold}'

# data/DFEW/clip_jpg_256/00001/*.jpg (frames at the original rate) and the published splits
clips = dict(
    type='ExpressionVideoDataset', task='dfew', data_root='data/DFEW',
    data_prefix=dict(media='clip_jpg_256'))
train_list = f'EmoLabel_DataSplit/train(single-labeled)/train_set_{fold}.csv'
test_list = f'EmoLabel_DataSplit/test(single-labeled)/test_set_{fold}.csv'

model = dict(cls_head=dict(num_classes=dict(dfew=7, affectnet7=7)))

frames = dict(clip_len=16, frame_interval=4)
train_pipeline = [
    dict(type='OpenClip'), dict(type='LinspaceFrames', **frames), *_base_.video_train_transforms
]
# validation: the window in the middle; test: the paper's two, at the begin and the end (its two
# crops are the same pixels, so they are left out)
val_pipeline = [
    dict(type='OpenClip'), dict(type='WindowFrames', **frames), *_base_.video_test_transforms
]
test_pipeline = [
    dict(type='OpenClip'), dict(type='WindowFrames', **frames, num_clips=2),
    *_base_.video_test_transforms
]

# the pipelines are those of the clips, the images bring theirs
train_dataloader = dict(dataset=dict(
    pipeline=train_pipeline,
    datasets=[dict(**clips, ann_file=train_list), _base_.affectnet7_train]))
test_data = [dict(**clips, ann_file=test_list, test_mode=True), _base_.affectnet7_test]
val_dataloader = dict(dataset=dict(pipeline=val_pipeline, datasets=test_data))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline, datasets=test_data))
