# MMA-DFER on DFEW, frames and sound, arXiv 2404.09010.
#
#   python tools/data/prepare_dfew.py --root data/DFEW --media clip_224x224 --sound raw_wav
#   FOLD=3 python tools/train.py configs/mma_dfer_dfew.py
#   python tools/test.py configs/mma_dfer_dfew.py OFFICIAL_OR_OWN_CHECKPOINT
#
# The fold (1..5, default 1) selects the lists and the work directory.
_base_ = [
    '_base_/mma_dfer_finetune.py', '_base_/mma_dfer_vit_base.py', '_base_/mma_dfer_25e.py'
]

fold = '{{$FOLD:1}}'
work_dir = f'work_dirs/mma_dfer_dfew/fold_{fold}'

# data/DFEW/clip_224x224/00001/*.jpg (all frames of the clips), data/DFEW/raw_wav/1.wav, and the
# lists that prepare_dfew.py writes, which name the sound; folds and labels are the data set's
clips = dict(
    type='ExpressionVideoDataset', task='dfew', data_root='data/DFEW',
    data_prefix=dict(media='clip_224x224', audio='raw_wav'))

model = dict(cls_head=dict(num_classes=dict(dfew=7)))

test_pipeline = _base_.test_pipeline
train_dataloader = dict(dataset=dict(datasets=[dict(**clips, ann_file=f'train_set_{fold}.csv')]))
test_data = [dict(**clips, ann_file=f'test_set_{fold}.csv', test_mode=True)]
val_dataloader = dict(dataset=dict(datasets=test_data))
test_dataloader = dict(dataset=dict(datasets=test_data))

randomness = dict(seed=1)  # of the official code

# what a prediction scores at once: the clips have 71 frames in the median, 25 a second
prediction = dict(fps=25, frames=71)
