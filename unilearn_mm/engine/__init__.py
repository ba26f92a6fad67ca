"""What happens around the steps: hooks and optimizer rules."""

from . import hooks

__all__ = ['hooks']
