"""Necks."""

from .mae_decoder import CrossMAEDecoder, MAEDecoder

__all__ = ['CrossMAEDecoder', 'MAEDecoder']
