"""What belongs to a target's name alone: its random key, its shard, its file."""

import hashlib
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ..arrays import as_whole_number

_SLURM = "SLURM_ARRAY_TASK_"


class Shard(NamedTuple):
    """Part ``number`` of ``count``, counted from 0: targets fall in it by their names."""

    number: int = 0
    count: int = 1

    def __contains__(self, name: object) -> bool:
        return _hash("shard", str(name)) % self.count == self.number

    def overlaps(self, other: "Shard") -> bool:
        """Whether a target may be in both."""
        return (self.number - other.number) % math.gcd(self.count, other.count) == 0

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def as_shard(value: Any) -> Shard:
    """A shard from a pair, text such as ``"0/8"``, ``"slurm"``, or None, which is all."""
    if value is None:
        return Shard()
    if isinstance(value, str) and value == "slurm":
        return _of_slurm()
    parts = value.split("/") if isinstance(value, str) else value
    try:
        number, count = (as_whole_number("shard", float(part)) for part in parts)
    except (TypeError, ValueError):
        raise ValueError(
            f"shard = {value!r} must be a pair (number, count), text such as '0/8', or 'slurm'."
        ) from None
    if not number < count:
        raise ValueError(
            f"shard = {value!r}: give the number of a shard, counted from 0, and how many there "
            "are, such as 0/8 to 7/8."
        )
    return Shard(number, count)


def _of_slurm() -> Shard:
    """The shard of a task of a SLURM job array, whatever its numbers begin with."""
    known = {key: os.environ.get(_SLURM + key) for key in ("ID", "COUNT", "MIN", "STEP")}
    if known["ID"] is None or known["COUNT"] is None:
        raise ValueError(
            f"shard = 'slurm' needs {_SLURM}ID and {_SLURM}COUNT, which this process has not: "
            "start it by sbatch --array=0-7, or give number and count, such as 0/8."
        )
    first, step = int(known["MIN"] or 0), int(known["STEP"] or 1)
    number, count = (int(known["ID"]) - first) // step, int(known["COUNT"])
    if not 0 <= number < count:
        raise ValueError(
            f"shard = 'slurm': task {known['ID']} of {count} is none of an array without gaps. "
            "Pass shard=(number, count)."
        )
    return Shard(number, count)


def as_key(key: Any) -> tuple[int, ...]:
    """The words of a random key: a whole number, or a key of JAX."""
    if isinstance(key, jax.Array):
        typed = jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
        data = np.asarray(jax.random.key_data(key) if typed else key)
        if data.dtype == np.uint32 and data.ndim == 1:
            return tuple(int(word) for word in data)
    elif isinstance(key, int | np.integer) and not isinstance(key, bool) and 0 <= key < 1 << 64:
        return int(key) >> 32, int(key) & 0xFFFFFFFF
    raise ValueError(f"key = {key!r:.80} must be a whole number from 0 on, or one key of JAX.")


def key_of(words: tuple[int, ...], name: str) -> jax.Array:
    """The random key of a target: it follows from the store's and the name, not from a place."""
    number = _hash("key", *map(str, words), name)
    pair = np.array([number >> 32 & 0xFFFFFFFF, number & 0xFFFFFFFF], np.uint32)
    return jax.random.wrap_key_data(pair, impl="threefry2x32")


def digest(name: str) -> str:
    """Letters that stand for a name, in names of files."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _hash(*parts: str) -> int:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def as_tasks(tasks: Any) -> dict[str, Any]:
    """Tasks by name; ValueError of a name that is no text, empty, or there twice."""
    if isinstance(tasks, Mapping):
        pairs = list(tasks.items())
    elif isinstance(tasks, Iterable) and not isinstance(tasks, str | bytes):
        pairs = list(tasks)
    else:
        raise TypeError(f"tasks is a {type(tasks).__name__}: pass a dictionary of tasks by name.")
    found: dict[str, Any] = {}
    for pair in pairs:
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise TypeError(f"tasks has {pair!r:.80}: pass a dictionary, or pairs (name, task).")
        name, task = pair
        if not (isinstance(name, str) and name):
            raise TypeError(f"tasks has the name {name!r:.80}: names are text, and not empty.")
        if name in found:
            raise ValueError(f"tasks has the name {name!r} twice: give each target its own.")
        found[name] = task
    return found
