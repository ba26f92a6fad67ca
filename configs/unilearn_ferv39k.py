# UniLearn fine-tuned jointly on FERV39k (video) and AffectNet-7 (images), arXiv 2409.06154.
#
#   bash tools/dist_train.sh configs/unilearn_ferv39k.py 2 --amp
#
# Not here yet: published pre-training weights; set load_from to a checkpoint of your own.
_base_ = [
    '_base_/unilearn_joint.py', '_base_/unilearn_vit_base.py', '_base_/unilearn_100e.py'
]

work_dir = 'work_dirs/unilearn_ferv39k'

# data/FERV39K/2_ClipsforFaceCrop/<scene>/<emotion>/<clip>/*.jpg and the published split
clips = dict(
    type='ExpressionVideoDataset', task='ferv39k', data_root='data/FERV39K',
    data_prefix=dict(media='2_ClipsforFaceCrop'))
train_list = 'Annotation/train.csv'
test_list = 'Annotation/test.csv'

model = dict(cls_head=dict(num_classes=dict(ferv39k=7, affectnet7=7)))

frames = dict(clip_len=16, frame_interval=1)
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
