# Loaders and evaluation of trainings on our data sets. A recipe adds batch sizes, and `datasets`
# and `pipeline` of each.
train_dataloader = dict(
    num_workers=8,
    persistent_workers=True,
    timeout=300,  # seconds; a file that hangs the decoder ends the run with its name
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='MixedMediaBatchSampler'),
    dataset=dict(
        type='MixedMediaDataset',
        on_unreadable='replace'))  # counted, named and bounded by ReadFailureHook
val_dataloader = dict(
    num_workers=8,
    persistent_workers=True,
    timeout=300,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    batch_sampler=dict(type='MixedMediaBatchSampler', test_mode=True),
    dataset=dict(type='MixedMediaDataset'))
test_dataloader = val_dataloader

val_evaluator = dict(type='WARUARMetric')
test_evaluator = dict(type='WARUARMetric', prediction_file='predictions.csv')
