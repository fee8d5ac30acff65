"""Draws and what is made of them: tables, plots, files, draws corrected by weights."""

from .corrected import Corrected
from .files import load, save
from .importance import Importance
from .limits import Limit
from .samples import Samples

__all__ = ["Corrected", "Importance", "Limit", "Samples", "load", "save"]
