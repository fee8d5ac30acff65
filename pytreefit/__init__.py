"""Name the parameters of a model, give them priors, fit them and sample them.

Models are immutable Equinox modules; a parameter is a field declared with :func:`param`.
"""

from . import _methods as _methods
from ._jit import jit
from .batch import grid, map_models, vary
from .cache import cache_programs
from .ensemble import (
    AbstractLaw,
    AbstractSingleLaw,
    Ensemble,
    IndependentLaws,
    LogNormalLaw,
    NormalLaw,
)
from .joint import Joint
from .model import Model
from .optimize import Fit, Laplace, Status, fit, laplace
from .parameter import ParamInfo, param
from .posterior import Posterior
from .references import Citations, cite
from .results import Corrected, Importance, Limit, Samples, load, save
from .sampling import sample
from .table import Table

__version__ = "0.1.0"

__all__ = [
    "AbstractLaw",
    "AbstractSingleLaw",
    "Citations",
    "Corrected",
    "Ensemble",
    "Fit",
    "Importance",
    "IndependentLaws",
    "Joint",
    "Laplace",
    "Limit",
    "LogNormalLaw",
    "Model",
    "NormalLaw",
    "ParamInfo",
    "Posterior",
    "Samples",
    "Status",
    "Table",
    "cache_programs",
    "cite",
    "fit",
    "grid",
    "jit",
    "laplace",
    "load",
    "map_models",
    "param",
    "sample",
    "save",
    "vary",
]
