"""What packages of models that build on pytreefit may use, beside the names of `pytreefit` itself.

These names are as stable as the public ones, but only authors of components need them.
"""

from ._arrays import as_booleans, as_data, as_floats, as_integers, check_shape, unit_of
from ._jit import outermost
from ._lenient import lenient
from ._model import inline, lookup_parameter, rebuild, walk
from ._param import KEY, is_traced
from ._posterior import as_prior
from ._progress import Reporter, duration
from ._threads import in_threads
from ._xla import plain

__all__ = [
    "KEY",
    "Reporter",
    "as_booleans",
    "as_data",
    "as_floats",
    "as_integers",
    "as_prior",
    "check_shape",
    "duration",
    "in_threads",
    "inline",
    "is_traced",
    "lenient",
    "lookup_parameter",
    "outermost",
    "plain",
    "rebuild",
    "unit_of",
    "walk",
]
