"""Checkpoints of a sampling run: what is in them, and whose they are."""

import contextlib
import hashlib
import os
import re
import warnings
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np
import numpyro.distributions as dist

from .._fork import refuse_fork
from .._lock import lock, unlock
from ..cache import programs_kept
from ..results.files import load, save


class Checkpoint(eqx.Module):
    """A run between two chunks: enough to go on, or to build the result if it is finished."""

    owner: dict[str, str]  # fingerprints of the run
    done: int  # transitions so far
    whitening: tuple[np.ndarray, ...]  # middle, matrix and bend
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
        "priors": digest(list(map(_describe, posterior.priors.values()))),
        "model or data": digest((posterior.model, functions)),
        "key": digest(jax.random.key_data(key)),
        **{name: repr(value) for name, value in settings.items()},
    }


def without_addresses(text: str) -> str:
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


def digest(tree) -> str:
    """A hash of all numbers in a tree and of its structure; functions count by their names."""
    leaves, structure = jax.tree.flatten(tree)
    found = hashlib.sha256(without_addresses(repr(structure)).encode())
    for leaf in leaves:
        if isinstance(leaf, jax.Array | np.ndarray | np.generic):
            array = np.ascontiguousarray(leaf)
            found.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
        else:
            name = getattr(leaf, "__qualname__", None) or repr(leaf)
            found.update(without_addresses(name).encode())
    return found.hexdigest()


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


def write(path: str | os.PathLike, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a disk that is full for now is no reason to end a run."""
    try:
        save(path, checkpoint)
    except OSError as error:
        _warn(path, error, stacklevel=7)


def _warn(path: str | os.PathLike, error: OSError, stacklevel: int) -> None:
    message = f"The checkpoint {os.fspath(path)} can't be written ({error}): the run goes on."
    warnings.warn(message, UserWarning, stacklevel=stacklevel)


@contextlib.contextmanager
def kept(path: str | os.PathLike | None) -> Iterator[None]:
    """While a run goes on: its checkpoint is its own, and its programs are kept on the disk.

    A run that is killed again and again would else compile again and again.
    """
    refuse_fork()
    if path is None:
        yield
        return
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"checkpoint = {os.fspath(path)}: there is no folder {folder}. Make it first."
        )
    with _alone(path), programs_kept():
        yield


@contextlib.contextmanager
def _alone(path: str | os.PathLike) -> Iterator[None]:
    """While no other run may use the checkpoint; the system forgets the lock of a killed run."""
    name = f"{os.path.realpath(path)}.lock"
    try:
        descriptor = lock(name)
    except BlockingIOError as error:
        raise ValueError(
            f"checkpoint = {os.fspath(path)} is in use by another run ({error}): wait until that "
            "has ended, or give another file name."
        ) from None
    except OSError as error:
        _warn(path, error, stacklevel=7)
        yield
        return
    try:
        yield
    finally:
        unlock(name, descriptor)
