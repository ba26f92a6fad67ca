# S2D's video stage on FERV39k, arXiv 2312.05447: no mixing, no label smoothing, no dropout, but
# self-distillation from emotion anchors.
#
#   bash tools/dist_train.sh configs/s2d_ferv39k.py 2 --amp
_base_ = ['_base_/s2d_finetune.py', '_base_/s2d_vit_base.py', '_base_/s2d_100e.py']
work_dir = 'work_dirs/s2d_ferv39k'

# data/FERV39K/2_ClipsforFaceCrop/<scene>/<emotion>/<clip>/*.jpg and the published split
clips = dict(
    type='ExpressionVideoDataset', task='ferv39k', data_root='data/FERV39K',
    data_prefix=dict(media='2_ClipsforFaceCrop'))

model = dict(
    data_preprocessor=dict(mixing=None),
    # as in s2d_dfew.py
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/Pretrain-AffectNet-7.pth')),
    cls_head=dict(
        num_classes=dict(ferv39k=7),
        dropout_ratio=0.,
        label_smooth_eps=0.,
        sdl=dict(
            # 'official' with every=100 is what scripts/ft_ferv39k.sh runs: the anchors are random
            # noise from the first epoch to the last
            mode='filled',
            size=16,  # anchors of a class
            k=2,  # of which the most similar ones vote
            first_epoch=21,  # from 0; anchors are made from then on, in every epoch
            # first epoch and weight of the loss
            weights=[(30, 0.01), (50, 0.1), (60, 0.5), (80, 1.0)])))
default_hooks = dict(anchors=dict(type='AnchorUpdateHook'))

train_dataloader = dict(dataset=dict(datasets=[dict(**clips, ann_file='Annotation/train.csv')]))
test_data = [dict(**clips, ann_file='Annotation/test.csv', test_mode=True)]
val_dataloader = dict(dataset=dict(datasets=test_data))
test_dataloader = dict(dataset=dict(datasets=test_data))
