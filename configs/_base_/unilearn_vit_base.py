# UniLearn's ViT-B/16 with 8 adapter experts in the upper six blocks (arXiv 2409.06154; sizes from
# the official code, s4d/videomae.py): 16 frames of 160 x 160 pixels, tubelets of 2 frames.
model = dict(
    type='UniLearnRecognizer',
    data_preprocessor=dict(
        type='MixedMediaPreprocessor',
        mean=[123.675, 116.28, 103.53],  # ImageNet, RGB, 0..255
        std=[58.395, 57.12, 57.375],
        # in training, after normalisation: a box of noise in clips, a black one in images
        erasing=dict(prob=0.25),
        # every batch is mixed with its mirror: half of them by CutMix, the others by mixup
        mixing=dict(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5)),
    backbone=dict(
        type='VisionTransformerMoAE',
        img_size=160,
        patch_size=16,
        num_frames=16,
        tubelet_size=2,
        embed_dims=768,
        depth=12,
        num_heads=12,
        drop_path_rate=0.,  # the official fine-tuning has no stochastic depth
        moae=dict(
            num_experts=8,
            top_k=2,
            hidden_ratio=0.25,
            blocks=0.5,  # the upper half
            balance_loss_weight=1e-2)),  # Switch Transformer; the official code applies none
    cls_head=dict(
        type='MultiTaskHead',
        in_channels=768,
        num_classes=dict(),  # the recipe names its tasks
        label_smooth_eps=0.1))
