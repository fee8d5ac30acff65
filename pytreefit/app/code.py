"""Values and priors as Python."""

from typing import Any

import numpy as np
import numpyro.distributions as dist

from ..model import Model
from ..posterior import Posterior
from ..table import Table
from .sliders import plain_prior

_TRUNCATED = (
    dist.LeftTruncatedDistribution,
    dist.RightTruncatedDistribution,
    dist.TwoSidedTruncatedDistribution,
)


def values_code(posterior: Posterior, model: Model) -> str:
    """The values of all that is free or follows from it, by path, as a dictionary in Python."""
    paths = [path for tied in posterior.paths for path in tied] + list(posterior.links)
    lines = [f"    {path!r}: {number_code(model.get(path))}," for path in paths]
    return "\n".join(["{", *lines, "}"])


def priors_code(posterior: Posterior) -> str:
    """The priors as a dictionary in Python; commented out where it is not known what makes one."""
    lines = []
    for tied, prior in zip(posterior.paths, posterior.priors.values(), strict=True):
        code = prior_code(prior)
        key = repr(tied[0]) if len(tied) == 1 else repr(tied)
        lines.append(f"    {'# ' * (code is None)}{key}: {prior if code is None else code},")
    return "\n".join(["{", *lines, "}"])


def priors_table(posterior: Posterior) -> Table:
    """The priors in words, for those who read what a command prints."""
    rows = []
    for name, prior in posterior.priors.items():
        rows.append((name, _in_words(plain_prior(prior)), posterior.units[name]))
    return Table(("free", "prior", "unit"), rows)


def _in_words(prior: dist.Distribution) -> str:
    kind = type(prior)
    names = [name for name in kind.arg_constraints if hasattr(prior, name)]
    if isinstance(prior, _TRUNCATED):
        ends = (f"{name} {float(np.ravel(getattr(prior, name))[0]):.4g}" for name in names)
        return f"{_in_words(prior.base_dist)}, cut off at {', '.join(ends)}"
    numbers = {name: np.ravel(np.asarray(getattr(prior, name))) for name in names}
    text = {
        name: f"{values[0]:.4g}" if np.all(values == values[0]) else "..."
        for name, values in numbers.items()
        if values.size
    }
    if kind in (dist.Uniform, dist.LogUniform) and len(text) == 2:
        said = f"{text['low']} to {text['high']}"
        return said if kind is dist.Uniform else f"{said}, uniform in the logarithm"
    return f"{kind.__name__}({', '.join(f'{name}={value}' for name, value in text.items())})"


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
    if isinstance(prior, _TRUNCATED):
        base = prior_code(prior.base_dist)
        ends = "".join(f", {name}={value}" for name, value in arguments.items())
        return None if base is None else f"dist.TruncatedDistribution({base}{ends})"
    if kind is dist.Uniform:
        return f"({arguments['low']}, {arguments['high']})"
    package = kind.__module__.partition(".")[0]
    package = "dist" if package == "numpyro" else package
    said = ", ".join(f"{name}={value}" for name, value in arguments.items())
    return f"{package}.{kind.__name__}({said})"
