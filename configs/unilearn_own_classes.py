# UniLearn fine-tuned on clips of your own, with classes of your own. Nothing in the package has to
# be changed: the recipe names the task and its classes.
#
#   data/own/clips/calm/0001.mp4 ...      a folder for each class
#   data/own/classes.txt                  their names, one in each line
#
#   python tools/data/prepare_folder.py --root data/own --media clips \
#       --label-from-folder data/own/classes.txt
#   python tools/data/hold_out.py data/own/prepared/videos.csv --share 0.2 --out data/own/lists
#   python tools/train.py configs/unilearn_own_classes.py
_base_ = [
    '_base_/unilearn_finetune.py', '_base_/unilearn_vit_base.py', '_base_/unilearn_100e.py'
]
work_dir = 'work_dirs/unilearn_own_classes'

data_root = 'data/own'
classes = ['calm', 'tense', 'tired']  # ids 0, 1, 2 in lists and predictions

model = dict(cls_head=dict(num_classes=dict(own=len(classes))))
# a model that was trained on one of the data sets, its head excepted
# load_from = 'work_dirs/unilearn_dfew/fold_1/epoch_100.pth'

train_pipeline = [
    dict(type='OpenClip'),
    dict(type='LinspaceFrames', clip_len=16, frame_interval=4),
    *_base_.video_train_transforms
]
test_pipeline = [
    dict(type='OpenClip'),
    dict(type='WindowFrames', clip_len=16, frame_interval=4, num_clips=2),
    *_base_.video_test_transforms
]

clips = dict(
    type='ExpressionVideoDataset',
    task='own',  # any name that label_spaces.py does not have
    classes=classes,  # or a file: 'classes.txt', in data_root
    data_root=data_root,
    data_prefix=dict(media='clips'))
train_dataloader = dict(
    batch_sampler=dict(balanced=['own']),  # the classes are drawn equally often
    dataset=dict(pipeline=train_pipeline, datasets=[dict(**clips, ann_file='lists/train.csv')]))
val_dataloader = dict(
    dataset=dict(
        pipeline=test_pipeline,
        datasets=[dict(**clips, ann_file='lists/validation.csv', test_mode=True)]))
test_dataloader = val_dataloader
