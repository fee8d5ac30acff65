"""What decides the results of a survey, as text that can be compared and read."""

import functools
import hashlib
import inspect
import types
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
import numpyro.distributions as dist

from ..sampling.checkpoint import digest, without_addresses

_LONGEST = 300
_OURS = ("pytreefit", "grater", "spotgp")


def describe(value: Any) -> str:
    """Text for the ``configuration`` of :func:`run`: equal for what is equal, and readable.

    Models and arrays are their first characters and a hash of all numbers; distributions their
    names and parameters; functions their names and, unless they are of these packages, whose
    versions a store knows, a hash of their source, if there is one: what they take from outside of
    themselves is not seen.

    Examples
    --------
    >>> from pytreefit.survey import describe
    >>> describe({"x": (0.0, 1.0), "y": None})
    "{'x': (0.0, 1.0), 'y': None}"
    """
    if isinstance(value, Mapping):
        inner = sorted(f"{describe(name)}: {describe(entry)}" for name, entry in value.items())
        return f"{{{', '.join(inner)}}}"
    if type(value) in (tuple, list):
        inner = ", ".join(map(describe, value))
        return f"[{inner}]" if type(value) is list else f"({inner}{',' * (len(value) == 1)})"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(describe, value)))}}}"
    if isinstance(value, dist.Distribution):
        return _distribution(value)
    if isinstance(value, functools.partial):
        return f"partial({', '.join(map(describe, (value.func, value.args, value.keywords)))})"
    if isinstance(value, types.MethodType):
        return f"{_function(value.__func__)} of {describe(value.__self__)}"
    if isinstance(value, types.FunctionType):
        return _function(value)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if hasattr(value, "dtype") and np.ndim(value) == 0:
        return repr(np.asarray(value).item())
    if isinstance(value, eqx.Module | np.ndarray | jax.Array):
        return _tree(value)
    return without_addresses(repr(value))


def _distribution(value: dist.Distribution) -> str:
    inner = [f"{name}={describe(entry)}" for name, entry in sorted(value.get_args().items())]
    if (base := getattr(value, "base_dist", None)) is not None:
        inner.append(describe(base))
    return f"{type(value).__name__}({', '.join(inner)})"


def _function(value: Any) -> str:
    name = f"{value.__module__}.{value.__qualname__}"
    if name.partition(".")[0] in _OURS:
        return name
    try:
        source = inspect.getsource(value)
    except (OSError, TypeError):
        return name
    return f"{name} #{hashlib.sha256(source.encode()).hexdigest()[:12]}"


def _tree(value: Any) -> str:
    text = " ".join(str(value).split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return f"{without_addresses(text)} #{digest(value)[:12]}"
