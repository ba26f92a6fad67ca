# mma_dfer_toy.py without frames.
_base_ = ['mma_dfer_toy.py']
work_dir = 'work_dirs/mma_dfer_toy_sound_only'

model = dict(data_preprocessor=dict(modalities=('audios', )))
