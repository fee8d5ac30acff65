"""Many models at once: lists and grids of parameter values, and functions mapped over them."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._jit import jit
from .arrays import as_mapping, as_whole_number, check_kind
from .model import Model, convert_value, lookup_parameter, replace
from .parameter import check_value, is_traced
from .threads import cores, in_threads


def vary(model: Model, values: Mapping[str, Any]) -> Model:
    """A batch of models that differ in some parameters, for `equinox.filter_vmap`.

    It is one model with a leading axis of length ``n`` on every array.

    Parameters
    ----------
    model
        The model to start from.
    values
        For each path ``n`` values along the first axis; all paths have the same ``n`` and advance
        together.

    Raises
    ------
    ValueError
        If a path is unknown, lengths differ, or a value is outside its bounds.
    TypeError
        If a value is not a number or has the wrong dimension.

    Examples
    --------
    >>> import equinox as eqx, jax
    >>> from pytreefit import Model, param, vary
    >>> class Line(Model):
    ...     slope: jax.Array = param()
    >>> lines = vary(Line(1.0), {"slope": [1, 2, 3]})
    >>> eqx.filter_vmap(lambda line: 2 * line.slope)(lines).tolist()
    [2.0, 4.0, 6.0]
    """
    arrays = _columns(model, "values", values)
    lengths = {path: array.shape[0] for path, array in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(
            f"vary needs the same number of values, at least one, for every path, got {lengths}. "
            "For all combinations use pytreefit.grid."
        )
    return eqx.filter_vmap(lambda row: replace(model, row))(arrays)


def grid(model: Model, axes: Mapping[str, Any]) -> Model:
    """A batch of models over every combination of some parameters' values.

    It is one model with a leading axis on every array, as long as the product of the axes, the last
    path fastest: results reshape to ``(len(first), ..., len(last))``.

    Parameters
    ----------
    model
        The model to start from.
    axes
        For each path its values along the first axis.

    Raises
    ------
    ValueError, TypeError
        As :func:`vary`, and if an axis is empty.

    Examples
    --------
    >>> from pytreefit import NormalLaw, grid, map_models
    >>> laws = grid(NormalLaw(0.0, 1.0), {"mean": [0, 2], "width": [1, 2, 4]})
    >>> density = map_models(lambda law: law.log_prob(2.0), laws).reshape(2, 3)
    >>> density.argmax(axis=1).tolist()  # of each mean the most likely width: the distance to 2
    [1, 0]
    """
    arrays = _columns(model, "axes", axes)
    indices = np.indices([array.shape[0] for array in arrays.values()])
    flat = indices.reshape(len(arrays), -1)
    return vary(model, {p: arrays[p][index] for p, index in zip(arrays, flat, strict=True)})


def _columns(model: Model, where: str, values: Any) -> dict[str, jax.Array]:
    check_kind("model", model, Model)
    return {
        path: _column(model, path, column) for path, column in as_mapping(where, values).items()
    }


def _column(model: Model, path: str, values: Any) -> jax.Array:
    parameter = lookup_parameter(model, path)
    array = convert_value(parameter, values)
    if array.ndim == 0:
        raise ValueError(f"{path!r} needs a list of values to vary over, got the number {array}.")
    check_value(path, array, parameter.info, leading=1)
    return array


def map_models(f: Callable[[Any], Any], models: Any, batch_size: int | None = None) -> Any:
    """Apply a function to each of a batch of models.

    On a CPU each core takes one model after the other, which is faster than `equinox.filter_vmap`
    wherever the work adapts to the model, and needs the memory of one model per core. The function
    is compiled once for each shape.

    Parameters
    ----------
    f
        Function of one model that returns arrays. A new lambda is compiled anew: pass the same
        function again where it is called often.
    models
        Batch of models from :func:`vary` or :func:`grid`, or any PyTree whose arrays have a
        leading axis of the same length ``n``.
    batch_size
        How many models are evaluated together, which can pay for cheap functions; None is one by
        one on a CPU and 32 elsewhere.

    Raises
    ------
    ValueError, TypeError
        If the arrays of ``models`` have no leading axis of one common length, or ``f`` is no
        function.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import Model, grid, map_models, param
    >>> class Line(Model):
    ...     slope: jax.Array = param()
    ...     offset: jax.Array = param()
    >>> lines = grid(Line(1.0, 0.0), {"slope": [1, 2], "offset": [10, 20, 30]})
    >>> map_models(lambda line: line.slope + line.offset, lines).reshape(2, 3).tolist()
    [[11.0, 21.0, 31.0], [12.0, 22.0, 32.0]]
    """
    if not callable(f):
        raise TypeError(f"f = {f!r} must be a function of a model.")
    if batch_size is not None:
        batch_size = as_whole_number("batch_size", batch_size, 1)
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(eqx.filter(models, eqx.is_array))]
    lengths = {shape[:1] for shape in shapes}
    if len(lengths) != 1 or () in lengths:
        raise ValueError(
            f"models must have one leading batch axis on every array, got the shapes {shapes}: "
            "make them with pytreefit.vary or pytreefit.grid."
        )
    if batch_size is None and jax.default_backend() != "cpu":
        batch_size = 32
    return _map_on_all_cores(f, models, batch_size)


def _map_on_all_cores(f, models, batch_size):
    arrays, static = eqx.partition(models, eqx.is_array)
    length = jax.tree.leaves(arrays)[0].shape[0]
    # parts of one length, so that they share a program; the last is filled up with its last model
    parts = min(cores(), -(-length // (batch_size or 1)))
    if parts < 2 or any(is_traced(leaf) for leaf in jax.tree.leaves(arrays)):
        return _map(f, models, batch_size)
    size = -(-length // parts)
    rows = [np.minimum(np.arange(k * size, (k + 1) * size), length - 1) for k in range(parts)]

    def part(rows):
        taken = jax.tree.map(lambda leaf: leaf[rows], arrays)
        return _map(f, eqx.combine(taken, static), batch_size)

    done = in_threads(part, rows)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:length], *done)


@functools.partial(jit, threads=False)
def _map(f, models, batch_size):
    arrays, static = eqx.partition(models, eqx.is_array)
    return jax.lax.map(lambda a: f(eqx.combine(a, static)), arrays, batch_size=batch_size)
