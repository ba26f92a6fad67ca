# S2D (arXiv 2312.05447): ViT-B/16 on frames of 224 x 224, prompts from a frozen landmark net in
# each layer, temporal adapters. 9.3 of 95 million parameters are trained on videos (sizes and
# numbers: the official code, model_finetuning.py).
model = dict(
    type='Recognizer3D',
    data_preprocessor=dict(
        type='MixedMediaPreprocessor',
        mean=[123.675, 116.28, 103.53],  # ImageNet, RGB, 0..255
        std=[58.395, 57.12, 57.375],
        # in training, after normalisation: a box of noise in clips, a black one in images
        erasing=dict(prob=0.25),
        # every batch is mixed with its mirror: half of them by CutMix, the others by mixup
        mixing=dict(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5)),
    backbone=dict(
        type='S2DVisionTransformer',
        arch='base',
        img_size=224,
        num_frames=16,
        prompt_dims=8,
        tma_ratio=0.25,
        # of the official repository, where it is landmark/mobilefacenet_model_best.pth.tar
        landmark_net=dict(
            type='MobileFaceNet',
            init_cfg=dict(
                type='Pretrained', checkpoint='checkpoints/mobilefacenet_model_best.pth.tar'))),
    cls_head=dict(
        type='EmotionAnchorHead',
        in_channels=768,
        num_classes=dict(),  # the recipe names its tasks
        dropout_ratio=0.5,
        label_smooth_eps=0.1))

find_unused_parameters = True  # the last prompt norm is never used
