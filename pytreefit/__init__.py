"""Name the parameters of a model, give them priors, fit them and sample them.

Models are immutable Equinox modules; a parameter is a field declared with :func:`param`.
"""

from ._batch import grid, map_models, vary
from ._io import load, save
from ._model import Model, ParamInfo, param
from ._posterior import Posterior
from ._table import Table

__all__ = [
    "Model",
    "ParamInfo",
    "Posterior",
    "Table",
    "grid",
    "load",
    "map_models",
    "param",
    "save",
    "vary",
]
