"""Exact Gaussian likelihoods and predictions, dense or banded."""

from ._block import Blocks, Factor, factorize, log_likelihood
from ._layout import Layout, lay_out

__all__ = ["Blocks", "Factor", "Layout", "factorize", "lay_out", "log_likelihood"]
