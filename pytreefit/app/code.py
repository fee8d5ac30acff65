"""Values and priors as Python."""

from typing import Any

import numpy as np
import numpyro.distributions as dist

from ..model import Model
from ..posterior import Posterior
from .sliders import plain_prior


def python_of(name: str, posterior: Posterior, model: Model) -> str:
    """Lines that give the model of a name its values, and say what the priors are."""
    paths = [path for tied in posterior.paths for path in tied] + list(posterior.links)
    values = [f"    {path!r}: {number_code(model.get(path))}," for path in paths]
    lines = [f"{name} = {name}.set({{", *values, "})", "priors = {"]
    for tied, prior in zip(posterior.paths, posterior.priors.values(), strict=True):
        code = prior_code(prior)
        key = repr(tied[0]) if len(tied) == 1 else repr(tied)
        lines.append(f"    {'# ' * (code is None)}{key}: {prior if code is None else code},")
    return "\n".join([*lines, "}"])


def number_code(value: Any) -> str:
    """A number or an array with just the digits that make it again."""
    value = np.asarray(value)
    if value.ndim == 0:
        return str(value[()])
    return f"[{', '.join(number_code(entry) for entry in value)}]"


def prior_code(prior: dist.Distribution) -> str | None:
    """What makes a prior again; None where that is not known."""
    prior = plain_prior(prior)
    kind = type(prior)
    names = list(kind.arg_constraints)
    if not names or not all(hasattr(prior, name) for name in names):
        return None
    arguments = {name: number_code(getattr(prior, name)) for name in names}
    if kind is dist.Uniform:
        return f"({arguments['low']}, {arguments['high']})"
    package = kind.__module__.partition(".")[0]
    package = "dist" if package == "numpyro" else package
    said = ", ".join(f"{name}={value}" for name, value in arguments.items())
    return f"{package}.{kind.__name__}({said})"
