"""Compilation of the outermost function, with options for the compiler."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import equinox as eqx
import jax
from jax.extend.core import get_opaque_trace_state

from . import _xla
from ._fork import refuse_fork

_F = TypeVar("_F", bound=Callable[..., Any])


class _NotOnlyArrays(Exception):
    """Raised while a function is traced that returns more than arrays."""


@functools.cache
def _outside():
    """The state of JAX outside of all its transformations, that of a new thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(get_opaque_trace_state).result()


def outermost() -> bool:
    """Whether nothing is being compiled, differentiated or mapped: all arrays have values."""
    return get_opaque_trace_state() == _outside()


@functools.cache
def _array() -> type:
    """The class of arrays that are no tracers, traced alike by jax.jit and equinox.filter_jit."""
    return type(jax.device_put(0.0))


def jit(function: _F, *, threads: bool = True) -> _F:
    """`equinox.filter_jit` with options for the compiler of CPUs: up to twice as fast.

    JAX takes such options at the outermost compilation only: within `jax.jit`, `jax.grad` or
    `jax.vmap` this is `equinox.filter_jit`. So compile a function of your own, too, with
    ``pytreefit.jit``. Where the first argument has a true attribute ``compiles_quickly``, or is a
    `Posterior` of such a model, compilation takes half of the time: for models whose likelihood is
    matrices above all. Images would take many times longer.

    Parameters
    ----------
    function
        Takes and returns PyTrees; arrays in them are traced, all else is static.
    threads
        Whether the program may use several cores of a CPU. One core is faster where there are many
        small steps, as in images, and where several programs run at once; large matrices gain by
        more of them.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import Model, jit, param
    >>> class Line(Model):
    ...     slope: jax.Array = param()
    >>> float(jit(lambda line: 2 * line.slope)(Line(3.0)))
    6.0
    """
    plain = eqx.filter_jit(function)
    programs = functools.cache(functools.partial(_programs, function, threads))
    only_arrays = True

    @functools.wraps(function)
    def call(*args, **kwargs):
        nonlocal only_arrays
        if not outermost():
            return plain(*args, **kwargs)
        refuse_fork()
        _xla.programs.make_room()
        general, direct = programs(bool(args) and bool(getattr(args[0], "compiles_quickly", False)))
        if only_arrays and {type(leaf) for leaf in jax.tree.leaves((args, kwargs))} <= {_array()}:
            try:
                return direct(*args, **kwargs)
            except _NotOnlyArrays:
                only_arrays = False
        return general(*args, **kwargs)

    return call  # pyright: ignore[reportReturnType]


def _programs(function, threads: bool, quickly: bool):
    """A function compiled, and compiled for arrays only, which takes less time for each call."""

    def arrays(*args, **kwargs):
        result = function(*args, **kwargs)
        if not all(eqx.is_array(leaf) for leaf in jax.tree.leaves(result)):
            raise _NotOnlyArrays
        return result

    # what profiles and logs of compilations call it
    arrays.__name__ = getattr(function, "__name__", "arrays")
    options = _xla.compiler_options(threads, quickly)
    general = eqx.filter_jit(function, compiler_options=options)
    return general, jax.jit(arrays, compiler_options=options)
