# s2d_toy_image.py without prompts from landmarks: a plain ViT.
_base_ = ['s2d_toy_image.py']
work_dir = 'work_dirs/s2d_toy_image_no_prompts'

model = dict(backbone=dict(landmark_net=None))
