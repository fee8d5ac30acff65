"""Fits: the most probable parameters, and the Gaussian around them."""

from .fit import Fit, fit
from .laplace import Laplace, laplace
from .status import Status

__all__ = ["Fit", "Laplace", "Status", "fit", "laplace"]
