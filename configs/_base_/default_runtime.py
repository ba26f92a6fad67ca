# What every recipe shares: registration, hooks, logging, distribution.
custom_imports = dict(imports=['unilearn_mm'], allow_failed_imports=False)
default_scope = 'mmaction'

default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20, ignore_last=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # the last epoch is the one to report; `save_best` would select on the test fold, see README
    # a kill or a full disk damages no file; --resume takes the newest good one
    checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sync_buffers=dict(type='SyncBuffersHook'))
custom_hooks = [
    dict(type='CheckpointCheckHook'),  # a checkpoint that does not fit is an error
    dict(type='PredictionFileHook'),  # predictions go to the work directory
    # a resumed run computes what the uninterrupted one would have computed
    dict(type='ExactResumeHook'),
    # no step on NaN or infinity; three such steps in a row end the run
    dict(type='FiniteGuardHook', max_consecutive=3),
    dict(type='PreemptionHook'),  # SIGTERM, SIGUSR1: save, exit with code 85
    dict(type='FigureHook'),  # confusion, recall, calibration, training curves: vis_data/vis_image
    dict(type='RunRecordHook'),  # versions, lists, seed, hardware: run_record.json
    # files that cannot be read are counted and named; more than 1 % of them end the run
    dict(type='ReadFailureHook', max_share=0.01)
]

env_cfg = dict(
    cudnn_benchmark=True,
    # one thread for OpenCV: the loader's workers are the parallelism
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))  # gloo where there is no GPU (unilearn_mm.compat)

log_level = 'INFO'
log_processor = dict(type='LogProcessor', window_size=20, by_epoch=True)
visualizer = dict(type='ActionVisualizer', vis_backends=[dict(type='LocalVisBackend')])

load_from = None
resume = False
randomness = dict(seed=0, diff_rank_seed=True)  # every rank draws its own noise

# what a packed sample says of itself; metric, mixing and error messages need it
meta_keys = ('source', 'task', 'media', 'sample_id', 'path', 'num_classes', 'class_names', 'groups')
