# UniLearn's fine-tuning (official code: s4d/run_class_finetuning.py). A recipe adds its data:
# `datasets` and `pipeline` of the three loaders.
_base_ = ['unilearn_transforms.py', 'loaders.py']

default_hooks = dict(routing=dict(type='RoutingHook', interval=20))  # load of the experts
find_unused_parameters = True  # a step trains one task, the heads of the others are idle

train_dataloader = dict(batch_size=16)  # clips on each GPU; --auto-scale-lr reads it
val_dataloader = test_dataloader = dict(batch_size=24)

# what a prediction scores at once: 16 frames, every fourth, of films (24 to 30 frames a second)
prediction = dict(fps=25, frames=64)
