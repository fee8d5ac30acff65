"""The program ``spotgp``: light curves of spotted stars from the command line."""

from .program import main

__all__ = ["main"]
