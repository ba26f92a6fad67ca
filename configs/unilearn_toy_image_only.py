# Baseline of unilearn_toy.py: the same model and about as many steps (156 instead of 146 an
# epoch), all of them on images. It is validated on the images and tested on the clips, frame by
# frame: each of 8 frames is classified as an image, and their probabilities are averaged.
_base_ = ['unilearn_toy.py']
work_dir = 'work_dirs/unilearn_toy_image_only'

model = dict(cls_head=dict(num_classes=dict(_delete_=True, toy_image=7)))
train_dataloader = dict(
    batch_sampler=dict(
        _delete_=True,
        type='MixedMediaBatchSampler',
        batch_sizes=dict(toy_image=64),
        rates=dict(toy_image=2.)),
    dataset=dict(datasets=_base_.train_dataloader.dataset.datasets[1:]))

frame_by_frame = [
    dict(type='OpenClip'),
    dict(type='SampleFrames', clip_len=1, num_clips=8, test_mode=True),
    *_base_.test_transforms
]
test_pipeline = frame_by_frame
test_data = _base_.val_dataloader.dataset.datasets
val_dataloader = dict(dataset=dict(datasets=test_data[1:]))
test_dataloader = dict(
    dataset=dict(pipeline=test_pipeline, datasets=[
        # the labels of the clips in the classes of the images
        dict(test_data[0], task='toy_image', ann_task='toy_video', source='toy_video',
             pipeline=frame_by_frame)
    ]))
