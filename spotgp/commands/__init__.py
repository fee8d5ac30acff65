"""The program ``spotgp``: light curves of spotted stars from the command line."""

from .main import main

__all__ = ["main"]
