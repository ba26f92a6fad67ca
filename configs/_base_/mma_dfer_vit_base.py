# MMA-DFER (arXiv 2404.09010): a ViT-B/16 on frames of 224 x 224 and one on a log-mel spectrogram of
# 5 seconds, both frozen but for their positions; prompts, gated fusion bottlenecks and a temporal
# transformer. 7.6 of 179 million parameters are trained (sizes and numbers: the paper, and the
# published model).
find_unused_parameters = True  # a batch may be without sound, or without frames

encoder = dict(
    patch_size=16,
    drop_path_rate=0.1)  # of the last layer; active in training although the layers are frozen
model = dict(
    type='MMRecognizer3D',
    data_preprocessor=dict(
        type='MixedMediaPreprocessor',
        mean=[0., 0., 0.],  # pixels in [0, 1], nothing else
        std=[255., 255., 255.],
        # mean and twice the standard deviation of AudioMAE's features on AudioSet
        audios=dict(mean=-4.2677393, std=2 * 4.5689974)),
    backbone=dict(
        type='AVFusionViT',
        arch='base',
        # what a training starts from; not needed for a test of an official checkpoint
        visual=dict(
            **encoder,
            img_size=224,
            # of the MAE-Face repository: pre-trained on faces, not fine-tuned
            init_cfg=dict(
                type='Pretrained', checkpoint='checkpoints/mae_face_pretrain_vit_base.pth')),
        audio=dict(
            **encoder,
            img_size=(512, 128),  # frames of 10 ms, mel bins
            # of the AudioMAE repository: pre-trained on AudioSet-2M, not fine-tuned; CC-BY-NC-4.0
            init_cfg=dict(type='Pretrained', checkpoint='checkpoints/audiomae_pretrained.pth')),
        num_frames=16,
        num_prompts=3,  # of a group
        prompt_every=6,  # layers: two groups
        latent_dims=128,
        temporal=dict(embed_dims=512, num_layers=1, num_heads=8, feedforward_channels=1024)),
    cls_head=dict(
        type='MultiTaskHead',
        in_channels=512,
        num_classes=dict()))  # the recipe names its task
