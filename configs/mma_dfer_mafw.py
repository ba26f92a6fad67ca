# MMA-DFER on MAFW (11 single classes), frames and sound, arXiv 2404.09010.
#
#   python tools/data/prepare_mafw.py --root data/MAFW --media frames_crop_align_224 --sound clips
#   FOLD=3 python tools/train.py configs/mma_dfer_mafw.py
#
# The fold (1..5, default 1) selects the lists and the work directory. The official faces are
# others: cut by a detector of its own, frame by frame (--media clips_faces), and read in the order
# of their names (FRAME_ORDER=lexicographic). MMA-DFER numbers the classes in an order of its own;
# lists and checkpoints are put into that of label_spaces.py.
_base_ = [
    '_base_/mma_dfer_finetune.py', '_base_/mma_dfer_vit_base.py', '_base_/mma_dfer_25e.py'
]

fold = '{{$FOLD:1}}'
work_dir = f'work_dirs/mma_dfer_mafw/fold_{fold}'

# data/MAFW/frames_crop_align_224/00025/*.png, the sound of data/MAFW/clips/00025.mp4, and the lists
# that prepare_mafw.py writes
clips = dict(
    type='ExpressionVideoDataset', task='mafw', data_root='data/MAFW',
    data_prefix=dict(media='frames_crop_align_224', audio='clips'),
    on_missing_sound='allow')  # some have none; they are counted

model = dict(cls_head=dict(num_classes=dict(mafw=11)))

# what has no sound gets zeros, as in the official code (missing='empty' of SoundFbank leaves the
# sound out of the computation instead)
decode_sound = dict(_base_.decode_sound, on_missing='allow')
train_pipeline = [decode_sound if step.type == 'DecodeSound' else step
                  for step in _base_.train_pipeline]
test_pipeline = [decode_sound if step.type == 'DecodeSound' else step
                 for step in _base_.test_pipeline]

train_dataloader = dict(dataset=dict(
    pipeline=train_pipeline, datasets=[dict(**clips, ann_file=f'train_set_{fold}.csv')]))
test_data = [dict(**clips, ann_file=f'test_set_{fold}.csv', test_mode=True)]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, datasets=test_data))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline, datasets=test_data))

randomness = dict(seed=1)  # of the official code

# what a prediction scores at once: the clips have 83 frames in the median, 25 a second
prediction = dict(fps=25, frames=83)
