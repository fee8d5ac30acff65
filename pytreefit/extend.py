"""What packages of models that build on pytreefit may use, beside the names of `pytreefit` itself.

These names are as stable as the public ones, but only authors of components need them.
"""

from ._jit import outermost
from ._lenient import lenient
from ._model import inline, lookup_parameter, rebuild, walk
from ._param import KEY, is_traced
from ._posterior import as_prior
from ._progress import Reporter, duration
from ._threads import in_threads

__all__ = [
    "KEY",
    "Reporter",
    "as_prior",
    "duration",
    "in_threads",
    "inline",
    "is_traced",
    "lenient",
    "lookup_parameter",
    "outermost",
    "rebuild",
    "walk",
]
