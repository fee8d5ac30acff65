"""Name the parameters of a model, give them priors, fit them and sample them.

Models are immutable Equinox modules; a parameter is a field declared with :func:`param`.
"""

from ._batch import grid, map_models, vary
from ._cache import cache_programs
from ._corrected import Corrected
from ._fit import Fit, fit
from ._io import load, save
from ._jit import jit
from ._laplace import Laplace, laplace
from ._model import Model
from ._param import ParamInfo, param
from ._posterior import Posterior
from ._result import Samples
from ._sample import sample
from ._table import Table
from ._xla import keep_freed_memory

__all__ = [
    "Corrected",
    "Fit",
    "Laplace",
    "Model",
    "ParamInfo",
    "Posterior",
    "Samples",
    "Table",
    "cache_programs",
    "fit",
    "grid",
    "jit",
    "keep_freed_memory",
    "laplace",
    "load",
    "map_models",
    "param",
    "sample",
    "save",
    "vary",
]
