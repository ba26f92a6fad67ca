"""What happens around the steps: hooks and optimizer rules."""

from . import hooks, optimizers, sharding, train_loop

__all__ = ['hooks', 'optimizers', 'sharding', 'train_loop']
