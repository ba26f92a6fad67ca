# mma_dfer_toy.py without sound.
_base_ = ['mma_dfer_toy.py']
work_dir = 'work_dirs/mma_dfer_toy_video_only'

model = dict(data_preprocessor=dict(modalities=('imgs', )))
