"""Chains and starts: all at once on an accelerator, one after the other on a CPU."""

import jax


def at_once() -> bool:
    """Whether chains and starts are evaluated at once.

    On a CPU a batch is no faster than its members in turn, and in turn nobody waits for the
    longest trajectory.
    """
    return jax.default_backend() != "cpu"


def each(function, arguments, *, at_once: bool):
    """``function`` of every row of ``arguments``, stacked."""
    return jax.vmap(function)(arguments) if at_once else jax.lax.map(function, arguments)
