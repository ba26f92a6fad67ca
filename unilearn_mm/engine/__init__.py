"""What happens around the steps: hooks and optimizer rules."""

from . import hooks, optimizers, score_rules, sharding, train_loop

__all__ = ['hooks', 'optimizers', 'score_rules', 'sharding', 'train_loop']
