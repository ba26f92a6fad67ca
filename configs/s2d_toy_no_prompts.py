# s2d_toy.py without prompts from landmarks: temporal adapters alone.
_base_ = ['s2d_toy.py']
work_dir = 'work_dirs/s2d_toy_no_prompts'
load_from = 'work_dirs/s2d_toy_image_no_prompts/epoch_10.pth'

model = dict(backbone=dict(landmark_net=None))
