"""Exact Gaussian likelihoods and predictions, dense or banded."""

from ._block import Blocks, Factor, factorize, log_likelihood
from ._layout import Layout, bandwidth, fastest, lay_out

__all__ = [
    "Blocks",
    "Factor",
    "Layout",
    "bandwidth",
    "factorize",
    "fastest",
    "lay_out",
    "log_likelihood",
]
