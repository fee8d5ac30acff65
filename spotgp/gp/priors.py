"""Priors for those parameters of a light curve that the user gave none."""

from collections.abc import Mapping

import numpy as np

from pytreefit.extend import as_prior, lookup_parameter, prior_limits, walk

from ..component import AbstractComponent, DataScales, priors_by_bounds
from ..star.abstract import AbstractStar
from ..star.several import short_of


def default_priors(process, data, fixed_mean: bool) -> dict:
    """Default priors of the free parameters by path, as the components declare them.

    Where the mean is fixed it is no function of the user's, and has no priors.
    """
    scales = DataScales.of(data.time, data.flux, data.flux_err)
    parts = {"model": process.model}
    parts |= {f"terms.{name}": term for name, term in process.terms.items()}
    parts |= {f"noise.{name}": noise for name, noise in process.noise.items()}
    if not fixed_mean:
        parts["mean"] = process.mean
    priors = {"jitter": scales.jitter}
    for path, part in parts.items():
        priors |= declared_priors(path, part, scales)
    return priors


def declared_priors(path: str, part, scales: DataScales) -> dict:
    """The default priors of what is at a path: its own, or what the bounds allow."""
    declares = isinstance(part, AbstractComponent | AbstractStar)
    own = part.default_priors(scales) if declares else priors_by_bounds(part, scales)
    return {f"{path}.{name}": prior for name, prior in own.items()}


def short_names(paths) -> list[str]:
    """The last part of each path, where that is unique, with its population where it is not."""
    last = [path.rpartition(".")[2] for path in paths]
    names = zip(last, paths, strict=True)
    return [name if last.count(name) == 1 else short_of(path) for name, path in names]


def choose_priors(process, wide: Mapping, given: Mapping) -> dict:
    """The priors that were given and those of the other parameters that are free by default.

    Priors are given by name, by path, or by a tuple of these that share a value; None fixes. They
    are returned by path, or by a tuple of paths, in the order of the model's parameters. Those in
    ``wide`` are the default ones, by path.
    """
    paths = [node.path for node in walk(process) if node.info is not None]
    short = dict(zip(short_names(paths), paths, strict=True))
    for path in paths:
        short.setdefault(path.removeprefix("model."), path)
    named = {
        tuple(short.get(name, name) for name in as_tied(key)): prior for key, prior in given.items()
    }
    taken = {path for tied in named for path in tied}
    for path in taken:
        lookup_parameter(process, path)
    chosen = {}
    stellar = [f"model.{path}" for path in process.model.paths.values()]
    for path in [*stellar, *(path for path in paths if path not in stellar)]:
        for tied, prior in named.items():
            if tied[0] == path and prior is not None:
                chosen[path if len(tied) == 1 else tied] = prior
        if path in wide and path not in taken and _is_free(process, path, wide[path]):
            chosen[path] = wide[path]
    return chosen


def as_tied(key) -> tuple[str, ...]:
    """The paths, or names, that share the prior of this key."""
    return (key,) if isinstance(key, str) else tuple(key)


def _is_free(process, path: str, prior) -> bool:
    """False at the edge of the prior or the parameter's range; ValueError where it is beyond."""
    parameter = lookup_parameter(process, path)
    value, (low, high) = np.asarray(parameter.value), prior_limits(prior)
    if np.any((value == parameter.info.lower) | (value == parameter.info.upper)):
        return False
    beyond = np.ravel(value)[np.ravel((value < low) | (value > high))]
    if beyond.size:
        raise ValueError(
            f"{path.rpartition('.')[2]} = {beyond[0]:g} is outside of its default prior, "
            f"{low:.4g} to {high:.4g} for these data. Start nearer, give it a prior, or "
            "None in priors to fix it."
        )
    return bool(np.all((value > low) & (value < high)))


def priors_by_path(process, priors: Mapping) -> dict:
    """The distribution of each free parameter by its own path, also of tied ones."""
    found = {}
    for key, prior in priors.items():
        prior = as_prior(prior, [lookup_parameter(process, path) for path in as_tied(key)])
        found |= dict.fromkeys(as_tied(key), prior)
    return found
