"""What happens around the steps: hooks and optimizer rules."""

from . import hooks, optimizers

__all__ = ['hooks', 'optimizers']
