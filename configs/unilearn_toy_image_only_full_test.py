# unilearn_toy_image_only.py, tested on the images too and not only on the frames of the clips.
_base_ = ['unilearn_toy_image_only.py']
work_dir = 'work_dirs/unilearn_toy_image_only_full_test'

test_dataloader = dict(
    dataset=dict(datasets=[
        *_base_.test_dataloader.dataset.datasets, *_base_.val_dataloader.dataset.datasets
    ]))
