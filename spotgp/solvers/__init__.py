"""Gaussian likelihoods and predictions: dense, banded, quasiseparable, from Fourier modes."""

from .block import Blocks, Factor, factorize, log_likelihood
from .layout import Layout, bandwidth, cost, fastest, lay_out
from .quasiseparable_algebra import quasiseparable_cost

__all__ = [
    "Blocks",
    "Factor",
    "Layout",
    "bandwidth",
    "cost",
    "factorize",
    "fastest",
    "lay_out",
    "log_likelihood",
    "quasiseparable_cost",
]
