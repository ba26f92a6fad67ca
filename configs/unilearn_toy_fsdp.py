# unilearn_toy.py with weights, gradients and optimizer state divided among the ranks (FSDP2). The
# same two settings serve ViT-L and larger, in any recipe; units also takes the 'neck.blocks' of
# a pre-training. On one process they have no effect.
#
#   bash tools/dist_train.sh configs/unilearn_toy_fsdp.py 2
_base_ = ['unilearn_toy.py']
work_dir = 'work_dirs/unilearn_toy_fsdp'

model_wrapper_cfg = dict(type='FullyShardedModel', units=['backbone.blocks'])
custom_hooks = [*_base_.custom_hooks, dict(type='FullyShardHook')]
