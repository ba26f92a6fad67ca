"""Checkpoints: do they fit a model, and what are the names of other projects here.

``fit``: whether a file fits a model. ``family``: what a family of foreign names is. One file for
each family: ``s4d`` (VideoMAE's own names too), ``videomae_transformers``, ``mae_image``,
``mae_audio``, ``s2d``, ``mma_dfer``.

A new family is a new file here and its name in ``checkpoint_families`` of the backbone that
understands it.
"""
