# s2d_toy_noisy.py with self-distillation from emotion anchors; the official table of 100 epochs, in
# 8.
_base_ = ['s2d_toy_noisy.py']
work_dir = 'work_dirs/s2d_toy_noisy_sdl'

model = dict(cls_head=dict(
    sdl=dict(first_epoch=2, weights=[(3, 0.01), (4, 0.1), (5, 0.5), (6, 1.0)])))
default_hooks = dict(anchors=dict(type='AnchorUpdateHook'))
