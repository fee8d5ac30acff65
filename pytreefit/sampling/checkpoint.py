"""Checkpoints of a sampling run: what is in them, and whose they are."""

import hashlib
import os
import re
from typing import Any

import equinox as eqx
import jax
import numpy as np
import numpyro.distributions as dist

from ..results.files import load


class Checkpoint(eqx.Module):
    """A run between two chunks: enough to go on, or to build the result if it is finished."""

    owner: dict[str, str]  # fingerprints of the run
    done: int  # transitions so far
    whitening: tuple[np.ndarray, ...]  # offset and matrix
    state: tuple[np.ndarray, ...]  # leaves of the state of the chains
    chunks: dict[str, np.ndarray]  # each quantity after every transition
    seconds: dict[str, float]  # by phase


def fingerprints(posterior, key, **settings: Any) -> dict[str, str]:
    """What must be the same for a run to be continued, by aspect.

    Functions count by their name only; the log density at the last state tells more.
    """
    functions = (posterior.log_likelihood, posterior.residuals, tuple(posterior.links.values()))
    return {
        "parameters": repr((posterior.paths, tuple(posterior.links))),
        "priors": _digest(list(map(_describe, posterior.priors.values()))),
        "model or data": _digest((posterior.model, functions)),
        "key": _digest(jax.random.key_data(key)),
        **{name: repr(value) for name, value in settings.items()},
    }


def _without_addresses(text: str) -> str:
    """Where something lies in memory differs between two runs of the same program."""
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _describe(prior) -> Any:
    """A distribution in plain values: NumPyro flattens it in an order that may change."""
    if not isinstance(prior, dist.Distribution):
        return np.asarray(prior).dtype.str, np.asarray(prior).tolist()
    arguments = sorted(prior.get_args().items())
    base = getattr(prior, "base_dist", None)
    return (
        type(prior).__qualname__,
        prior.shape(),
        [(name, _describe(value)) for name, value in arguments],
        None if base is None else _describe(base),
        [type(transform).__qualname__ for transform in getattr(prior, "transforms", ())],
    )


def _digest(tree) -> str:
    leaves, structure = jax.tree.flatten(tree)
    digest = hashlib.sha256(_without_addresses(repr(structure)).encode())
    for leaf in leaves:
        if isinstance(leaf, jax.Array | np.ndarray | np.generic):
            array = np.ascontiguousarray(leaf)
            digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
        else:
            name = getattr(leaf, "__qualname__", None) or repr(leaf)
            digest.update(_without_addresses(name).encode())
    return digest.hexdigest()


def read(path: str | os.PathLike, owner: dict[str, str]) -> Checkpoint | None:
    """The checkpoint at ``path`` if there is one; ValueError if it is not the owner's."""
    if not os.path.exists(path):
        return None
    checkpoint = load(path)
    if not isinstance(checkpoint, Checkpoint):
        raise ValueError(f"{path} holds a {type(checkpoint).__name__}, not a checkpoint of sample.")
    different = [name for name in owner if checkpoint.owner.get(name) != owner[name]]
    if different:
        raise ValueError(
            f"{path} is a checkpoint of another model or run: different are "
            f"{', '.join(different)}. Give another file name, or delete it to start anew."
        )
    return checkpoint
