# UniLearn on the toy faces of tools/data/make_toy_faces.py: a tiny ViT with experts that trains
# jointly on clips and images in a few minutes on two CPU cores. The names are those of the real
# recipes; the settings do not follow the paper.
#
#   python tools/data/make_toy_faces.py && python tools/train.py configs/unilearn_toy.py
_base_ = ['_base_/toy.py']

work_dir = 'work_dirs/unilearn_toy'

default_hooks = dict(routing=dict(type='RoutingHook', interval=20))  # load of the experts
find_unused_parameters = True  # a step trains one task, the head of the other is idle

model = dict(
    type='UniLearnRecognizer',
    data_preprocessor=dict(
        type='MixedMediaPreprocessor', mean=[127.5, 127.5, 127.5], std=[63., 63., 63.]),
    backbone=dict(
        type='VisionTransformerMoAE',
        img_size=_base_.size,
        patch_size=16,
        num_frames=_base_.clip_len,
        tubelet_size=2,
        embed_dims=128,
        depth=4,
        num_heads=4,
        moae=dict(num_experts=4, top_k=2, hidden_ratio=0.25, blocks=0.5),
        # the usual std of 0.02 is too small for 128 channels without pre-training (the experts,
        # which start as zero functions, keep it)
        init_cfg=[
            dict(type='Xavier', layer='Linear', distribution='uniform'),
            dict(type='Constant', layer='LayerNorm', val=1., bias=0.)
        ]),
    cls_head=dict(
        type='MultiTaskHead',
        in_channels=128,
        num_classes=dict(toy_video=7, toy_image=7),
        label_smooth_eps=0.1))
