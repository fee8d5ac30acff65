"""The same fit of many stars."""

from .many import fit_many
from .results import ManyFits, StarFit

__all__ = ["ManyFits", "StarFit", "fit_many"]
