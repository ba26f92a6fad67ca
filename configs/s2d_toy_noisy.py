# s2d_toy.py on clips of which three in ten have a wrong label (the test clips have right ones).
_base_ = ['s2d_toy.py']
work_dir = 'work_dirs/s2d_toy_noisy'

train_dataloader = dict(
    dataset=dict(datasets=[dict(_base_.train_data[0], ann_file='train_noisy.csv')]))
