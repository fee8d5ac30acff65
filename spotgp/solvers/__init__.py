"""Solvers of a light curve's Gaussian process."""

from ..kernel.covariance import Tables
from .base import (
    AbstractFactorSolver,
    AbstractSolver,
    Conditional,
    finite_or_minus_infinity,
)
from .bins.solver import Bins
from .choose import prepared
from .information import Information
from .limits import tables_of
from .points import Points, points_of
from .quasiseparable.solver import Quasiseparable
from .tiles import Banded, Dense

__all__ = [
    "AbstractFactorSolver",
    "AbstractSolver",
    "Banded",
    "Bins",
    "Conditional",
    "Dense",
    "Information",
    "Points",
    "Quasiseparable",
    "Tables",
    "finite_or_minus_infinity",
    "points_of",
    "prepared",
    "tables_of",
]
