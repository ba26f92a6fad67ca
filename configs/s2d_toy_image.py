# S2D's image stage on the toy faces: a tiny ViT with prompts from a landmark net, trained on images
# in a few minutes on two CPU cores. It is validated on the images and tested on the clips too,
# frame by frame: each of 8 frames is classified as an image, and their probabilities are averaged.
# The settings do not follow the paper.
#
#   python tools/data/make_toy_faces.py && python tools/data/train_toy_landmark_net.py
#   python tools/train.py configs/s2d_toy_image.py
_base_ = ['_base_/toy.py']
work_dir = 'work_dirs/s2d_toy_image'
max_epochs = 10
find_unused_parameters = True  # the last prompt norm is never used

model = dict(
    type='Recognizer3D',
    data_preprocessor=dict(
        type='MixedMediaPreprocessor', mean=[127.5, 127.5, 127.5], std=[63., 63., 63.]),
    backbone=dict(
        type='S2DVisionTransformer',
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=_base_.size,
        patch_size=16,
        num_frames=_base_.clip_len,
        with_tma=False,
        freeze_vit=False,
        landmark_net=dict(
            type='MobileFaceNet', channels=(16, 32), num_blocks=(1, 2),
            init_cfg=dict(
                type='Pretrained', checkpoint=f'{_base_.data_root}/landmark_net.pth'))),
    cls_head=dict(
        type='EmotionAnchorHead', in_channels=128, num_classes=dict(toy_image=7),
        label_smooth_eps=0.1))

frame_by_frame = [
    dict(type='OpenClip'),
    dict(type='SampleFrames', clip_len=1, num_clips=8, test_mode=True),
    *_base_.test_transforms
]
test_pipeline = frame_by_frame
train_data, test_data = (loader.dataset.datasets for loader in (
    _base_.train_dataloader, _base_.val_dataloader))
train_dataloader = dict(
    batch_sampler=dict(
        _delete_=True,
        type='MixedMediaBatchSampler',
        batch_sizes=dict(toy_image=64)),
    dataset=dict(datasets=train_data[1:]))
val_dataloader = dict(dataset=dict(datasets=test_data[1:]))
test_dataloader = dict(
    dataset=dict(pipeline=test_pipeline, datasets=[
        # the labels of the clips in the classes of the images
        dict(test_data[0], task='toy_image', ann_task='toy_video', source='toy_video',
             pipeline=frame_by_frame),
        test_data[1]
    ]))

warmup, cosine = _base_.param_scheduler
param_scheduler = [warmup, dict(cosine, end=max_epochs, T_max=max_epochs - 2)]
train_cfg = dict(max_epochs=max_epochs)
