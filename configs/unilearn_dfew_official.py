# unilearn_dfew.py with the mixture of experts as the official code computes it: routing noise in
# evaluation too, a capacity that the first tokens of a batch use up, no balance loss, experts that
# do not start at zero. For comparison; its scores depend on the batch and change from run to run.
_base_ = ['unilearn_dfew.py']
work_dir = f'work_dirs/unilearn_dfew_official/fold_{_base_.fold}'

model = dict(
    backbone=dict(
        moae=dict(
            _delete_=True,
            preset='official',
            num_experts=8,
            top_k=2,
            hidden_ratio=0.25,
            blocks=0.5)))
