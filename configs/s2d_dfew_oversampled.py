# s2d_dfew.py with the classes drawn equally often ("w/ oversampling" in the official README): each
# clip with a weight of one over the size of its class, with replacement.
_base_ = ['s2d_dfew.py']
work_dir = f'work_dirs/s2d_dfew_oversampled/fold_{_base_.fold}'

train_dataloader = dict(batch_sampler=dict(balanced=['dfew']))
