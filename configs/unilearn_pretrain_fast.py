# unilearn_pretrain.py with a fast decoder: a random quarter of the masked patches is predicted,
# from the encoder's tokens only. Not the paper's recipe.
_base_ = ['unilearn_pretrain.py']
work_dir = 'work_dirs/unilearn_pretrain_fast'

model = dict(neck=dict(type='CrossMAEDecoder', predict_ratio=0.25))
