"""Draws from a posterior: NUTS in chunks, with checkpoints."""

from .sample import sample

__all__ = ["sample"]
