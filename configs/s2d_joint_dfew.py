# S2D trained jointly on the clips of DFEW and the images of AffectNet-7, with UniLearn's sampler: a
# step is of clips or of images. Not of the paper; the numbers are ours unless said otherwise.
#
# An image is a clip of one frame, for which the model is exactly its image stage: adapters and
# temporal positions are for clips of two frames and more, and no step of images moves them. The
# prompts, the last norm and the landmark embedding learn from both.
#
#   FOLD=3 bash tools/dist_train.sh configs/s2d_joint_dfew.py 2 --amp
_base_ = ['s2d_dfew.py']
work_dir = f'work_dirs/s2d_joint_dfew/fold_{_base_.fold}'

model = dict(cls_head=dict(num_classes=dict(dfew=7, affectnet7=7)))

images = dict(
    type='ExpressionImageDataset', task='affectnet7', data_root='data/AffectNetdataset',
    data_prefix=dict(media='Manually_Annotated_Images'))
image_frame = [dict(type='OpenClip'), dict(type='SampleFrames', clip_len=1)]
# what happens to an image is what happens to the frames of a clip
image_train_pipeline = [*image_frame, *_base_.train_pipeline[2:]]
image_test_pipeline = [*image_frame, *_base_.val_pipeline[2:]]
images_train = dict(
    **images, ann_file='train_affectnet7_2w.txt', pipeline=image_train_pipeline)
images_test = dict(
    **images, ann_file='test_affectnet7_2w.txt', pipeline=image_test_pipeline, test_mode=True)

train_dataloader = dict(
    batch_sampler=dict(
        batch_sizes=dict(affectnet7=64),
        # an epoch: all clips and a tenth of the images; 584 and 221 steps on 2 GPUs
        rates=dict(affectnet7=0.1),
        balanced=['affectnet7']),  # its classes are drawn equally often, as in UniLearn
    dataset=dict(datasets=[*_base_.train_dataloader.dataset.datasets, images_train]))
test_data = [*_base_.test_data, images_test]
val_dataloader = dict(dataset=dict(datasets=test_data))
test_dataloader = dict(dataset=dict(datasets=test_data))
