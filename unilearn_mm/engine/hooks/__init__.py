"""Hooks."""

from .checkpoint_check import CheckpointCheckHook

__all__ = ['CheckpointCheckHook']
