# Loaders and evaluation of UniLearn's fine-tuning (official code: s4d/run_class_finetuning.py). A
# recipe adds its data: `datasets` and `pipeline` of the three loaders.
_base_ = ['unilearn_transforms.py']

default_hooks = dict(routing=dict(type='RoutingHook', interval=20))  # load of the experts
find_unused_parameters = True  # a step trains one task, the heads of the others are idle

train_dataloader = dict(
    batch_size=16,  # clips on each GPU; --auto-scale-lr reads it
    num_workers=8,
    persistent_workers=True,
    timeout=300,  # seconds; a file that hangs the decoder ends the run with its name
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='MixedMediaBatchSampler'),
    dataset=dict(
        type='MixedMediaDataset',
        on_unreadable='replace'))  # counted, named and bounded by ReadFailureHook
val_dataloader = dict(
    batch_size=24,
    num_workers=8,
    persistent_workers=True,
    timeout=300,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    batch_sampler=dict(type='MixedMediaBatchSampler', test_mode=True),
    dataset=dict(type='MixedMediaDataset'))
test_dataloader = val_dataloader

val_evaluator = dict(type='WARUARMetric')
test_evaluator = dict(type='WARUARMetric', prediction_file='predictions.csv')
