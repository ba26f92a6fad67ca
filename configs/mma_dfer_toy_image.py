# What MMA-DFER has from MAE-Face, on the toy faces: the model's eye, trained on images before it
# sees clips, in a few minutes on two CPU cores. The settings do not follow the paper.
#
#   python tools/data/make_toy_faces.py --out data/toy_voice --voice --video-train 700 \
#       --video-train-identities 100
#   python tools/train.py configs/mma_dfer_toy_image.py
_base_ = ['_base_/toy.py']
work_dir = 'work_dirs/mma_dfer_toy_image'
data_root = '{{$TOY_VOICE_DATA:data/toy_voice}}'  # TOY_VOICE_DATA=... reads another set with voices
find_unused_parameters = True  # the model's ear is idle
max_epochs = 8

model = dict(
    type='MMRecognizer3D',
    data_preprocessor=dict(
        type='MixedMediaPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[63., 63., 63.],
        audios=dict(mean=-4.2677393, std=9.1379948),  # of AudioMAE's log-mel
        modalities=('imgs', )),
    backbone=dict(
        type='AVFusionViT',
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        visual=dict(img_size=_base_.size, drop_path_rate=0.),
        audio=dict(img_size=(160, 128), drop_path_rate=0., freeze_vit=False),  # 1.6 s
        num_frames=_base_.clip_len,
        prompt_every=2,
        latent_dims=32,
        temporal=dict(embed_dims=128, num_heads=4, feedforward_channels=256),
        freeze_vit=False,
        # see unilearn_toy.py
        init_cfg=[
            dict(type='Xavier', layer='Linear', distribution='uniform'),
            dict(type='Constant', layer='LayerNorm', val=1., bias=0.)
        ]),
    cls_head=dict(
        type='MultiTaskHead', in_channels=128, num_classes=dict(toy_image=7),
        label_smooth_eps=0.1))

pack = dict(type='PackActionInputs', collect_keys=('imgs', ), meta_keys=_base_.meta_keys)
one_frame = [dict(type='OpenClip'), dict(type='SampleFrames', clip_len=1)]
image_train_pipeline = [*one_frame, *_base_.train_transforms[:-1], pack]
image_test_pipeline = [*one_frame, *_base_.test_transforms[:-1], pack]
test_pipeline = image_test_pipeline
toy_image = dict(
    type='ExpressionImageDataset',
    task='toy_image',
    data_root=f'{data_root}/toy_image',
    data_prefix=dict(media='images'))
train_dataloader = dict(
    batch_sampler=dict(
        _delete_=True,
        type='MixedMediaBatchSampler',
        batch_sizes=dict(toy_image=64)),
    dataset=dict(datasets=[
        dict(**toy_image, ann_file='train.txt', pipeline=image_train_pipeline)]))
val_dataloader = dict(dataset=dict(
    pipeline=test_pipeline, datasets=[
        dict(**toy_image, ann_file='test.txt', pipeline=image_test_pipeline, test_mode=True)]))
test_dataloader = val_dataloader

warmup, cosine = _base_.param_scheduler
param_scheduler = [warmup, dict(cosine, end=max_epochs, T_max=max_epochs - 2)]
train_cfg = dict(max_epochs=max_epochs)
