"""Compilation with the widest vectors that the processor has."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import equinox as eqx
import jax
from jax.extend.core import get_opaque_trace_state

_F = TypeVar("_F", bound=Callable[..., Any])
# XLA takes half of the widest vectors by default; where there are no wider ones nothing changes
_WIDE: dict[str, Any] = {"xla_cpu_prefer_vector_width": 512}
# threads that wait for each other at every step may take twice the time of one
_ONE_CORE: dict[str, Any] = {"xla_cpu_multi_thread_eigen": False}
# XLA's former code generator: half of the time for each small kernel of a program
_QUICK: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False}


class _NotOnlyArrays(Exception):
    """Of a result that ``jax.jit`` does not take."""


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


@functools.cache
def _known(quickly: bool) -> bool:
    """Whether there is a CPU whose compiler takes the options: they are no stable interface."""
    if jax.default_backend() != "cpu":
        return False
    try:
        options = {**_WIDE, **_ONE_CORE, **(_QUICK if quickly else {})}
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except Exception:
        return False
    return True


def jit(function: _F, *, threads: bool = True) -> _F:
    """``equinox.filter_jit``, which on a CPU lets the compiler use the widest vectors.

    Where the processor has vectors of 512 bits (AVX-512), XLA uses half of them unless it is told
    otherwise, and images and covariances take up to twice the time. JAX takes such options at the
    outermost compilation only: within ``jax.jit``, ``jax.grad`` or ``jax.vmap`` this is
    ``equinox.filter_jit``. So compile a function of your own, too, with ``pytreefit.jit``.

    Where the first argument has an attribute ``compiles_quickly`` that is true, or is a `Posterior`
    of such a model, the program is made by XLA's former code generator. It takes half of the time
    for that, and its programs are as fast where they are matrices above all; images it makes many
    times slower.

    Parameters
    ----------
    function
        Takes and returns PyTrees; arrays in them are traced, all else is static.
    threads
        Whether the program may use several cores of a CPU. One core is faster where there are many
        small steps, as in images, and where several programs run at once; large matrices gain by
        more of them.

    Returns
    -------
    Callable
        The compiled function.

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
    usual = _WIDE if threads else {**_WIDE, **_ONE_CORE}
    mixed = False

    def arrays(*args, **kwargs):
        result = function(*args, **kwargs)
        if not all(eqx.is_array(leaf) for leaf in jax.tree.leaves(result)):
            raise _NotOnlyArrays
        return result

    # compiled, and compiled for arrays only, which takes 20 us less for each call
    programs = [
        (
            eqx.filter_jit(function, compiler_options=options),
            jax.jit(arrays, compiler_options=options),
        )
        for options in (usual, {**usual, **_QUICK})
    ]

    @functools.wraps(function)
    def call(*args, **kwargs):
        nonlocal mixed
        if not outermost() or not _known(quickly=False):
            return plain(*args, **kwargs)
        quickly = bool(args) and getattr(args[0], "compiles_quickly", False)
        wide, direct = programs[bool(quickly) and _known(quickly=True)]
        if not mixed and {type(leaf) for leaf in jax.tree.leaves((args, kwargs))} <= {_array()}:
            try:
                return direct(*args, **kwargs)
            except _NotOnlyArrays:
                mixed = True
        return wide(*args, **kwargs)

    return call  # pyright: ignore[reportReturnType]
