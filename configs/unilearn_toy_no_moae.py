# Baseline of unilearn_toy.py: the same joint training without experts (6 % fewer parameters).
_base_ = ['unilearn_toy.py']
work_dir = 'work_dirs/unilearn_toy_no_moae'

model = dict(backbone=dict(moae=None))
