# UniLearn fine-tuned jointly on FERV39k (video) and AffectNet-7 (images), arXiv 2409.06154.
#
#   bash tools/dist_train.sh configs/unilearn_ferv39k.py 2 --amp
#
# Not here yet: published pre-training weights; set load_from to a checkpoint of your own.
_base_ = [
    '_base_/finetune_transforms.py', '_base_/unilearn_vit_base.py', '_base_/finetune_100e.py'
]

work_dir = 'work_dirs/unilearn_ferv39k'

# FERV39k: data/FERV39K/2_ClipsforFaceCrop/<scene>/<emotion>/<clip>/*.jpg and the published split
ferv39k_root = 'data/FERV39K'
ferv39k_lists = 'Annotation/{split}.csv'
ferv39k_media = dict(media='2_ClipsforFaceCrop')
# AffectNet-7: 224 x 224 aligned faces and the lists of the official repository
affectnet_root = 'data/AffectNetdataset'
affectnet_lists = '{split}_affectnet7_2w.txt'
affectnet_media = dict(media='Manually_Annotated_Images')

model = dict(cls_head=dict(num_classes=dict(ferv39k=7, affectnet7=7)))

# 16 frames, 1 apart
video_train_pipeline = [
    dict(type='OpenClip'),
    dict(type='LinspaceFrames', clip_len=16, frame_interval=1),
    *_base_.video_train_transforms
]
# validation: the window in the middle; test: the paper's two, at the begin and the end (its two
# crops are the same pixels, so they are left out)
video_val_pipeline = [
    dict(type='OpenClip'),
    dict(type='WindowFrames', clip_len=16, frame_interval=1),
    *_base_.video_test_transforms
]
video_test_pipeline = [
    dict(type='OpenClip'),
    dict(type='WindowFrames', clip_len=16, frame_interval=1, num_clips=2),
    *_base_.video_test_transforms
]
test_pipeline = video_test_pipeline  # what MMAction2's inference does with a clip

train_dataloader = dict(
    batch_size=16,  # clips on each GPU; --auto-scale-lr reads it
    num_workers=8,
    persistent_workers=True,
    timeout=300,  # seconds; a file that hangs the decoder ends the run with its name
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(
        type='MixedMediaBatchSampler',
        batch_sizes=dict(affectnet7=32),
        rates=dict(ferv39k=1., affectnet7=0.5),  # half of the image batches in each epoch
        balanced=['affectnet7']),  # its classes are drawn equally often
    dataset=dict(
        type='MixedMediaDataset',
        on_unreadable='replace',  # counted, named and bounded by ReadFailureHook
        datasets=[
            dict(
                type='ExpressionVideoDataset',
                task='ferv39k',
                data_root=ferv39k_root,
                ann_file=ferv39k_lists.format(split='train'),
                data_prefix=ferv39k_media,
                pipeline=video_train_pipeline),
            dict(
                type='ExpressionImageDataset',
                task='affectnet7',
                data_root=affectnet_root,
                ann_file=affectnet_lists.format(split='train'),
                data_prefix=affectnet_media,
                pipeline=_base_.image_train_pipeline)
        ]))
val_dataloader = dict(
    batch_size=24,
    num_workers=8,
    persistent_workers=True,
    timeout=300,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    batch_sampler=dict(type='MixedMediaBatchSampler', test_mode=True),
    dataset=dict(
        type='MixedMediaDataset',
        datasets=[
            dict(
                type='ExpressionVideoDataset',
                task='ferv39k',
                data_root=ferv39k_root,
                ann_file=ferv39k_lists.format(split='test'),
                data_prefix=ferv39k_media,
                pipeline=video_val_pipeline,
                test_mode=True),
            dict(
                type='ExpressionImageDataset',
                task='affectnet7',
                data_root=affectnet_root,
                ann_file=affectnet_lists.format(split='test'),
                data_prefix=affectnet_media,
                pipeline=_base_.image_test_pipeline,
                test_mode=True)
        ]))
test_clips, test_images = val_dataloader['dataset']['datasets']
test_dataloader = dict(
    val_dataloader,
    dataset=dict(
        type='MixedMediaDataset',
        pipeline=test_pipeline,
        datasets=[dict(test_clips, pipeline=video_test_pipeline), test_images]))

val_evaluator = dict(type='WARUARMetric')
test_evaluator = dict(type='WARUARMetric', prediction_file='predictions.csv')
