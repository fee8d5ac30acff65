"""The program ``grater``: debris disks in scattered light from the command line."""

from .program import main

__all__ = ["main"]
