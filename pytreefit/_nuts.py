"""NUTS with window adaptation, cut into chunks: one compiled function for warm-up and draws."""

import importlib
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ._evaluate import Frame, log_volume, value_and_gradient
from ._lenient import lenient
from ._progress import CHUNK
from ._space import prior_only

FAST, SLOW, WINDOW_END, WARMUP_END, DRAW = range(5)


def _blackjax(module: str) -> Any:
    """A module of BlackJAX, whose import takes seconds and starts JAX's backends."""
    return importlib.import_module(f"blackjax.{module}")


class Whitening(NamedTuple):
    """Coordinates v of the sampler: u = offset + matrix @ v."""

    offset: Float[Array, " dim"]
    matrix: Float[Array, "dim dim"]


class Chains(NamedTuple):
    """The whole state of a run between two transitions; every leaf is a float array.

    The chains share one step size and one metric, adapted to all of them together.
    """

    hmc: Any  # HMCState of arrays: position (chain, dim), logdensity, logdensity_grad
    step_size: Float[Array, ""]
    inverse_mass: Float[Array, " dim"] | Float[Array, "dim dim"]
    averaging: Any  # BlackJAX's states of dual averaging and of Welford's algorithm
    welford: Any


class Chunk(NamedTuple):
    """What the transitions of a chunk gave, step after step; zero after the first ``count``."""

    u: Float[Array, "step chain dim"]
    log_density: Float[Array, "step chain"]
    acceptance: Float[Array, "step chain"]
    diverging: Array
    tree_depth: Int[Array, "step chain"]
    leapfrogs: Int[Array, "step chain"]


def stages(warmup: int, draws: int) -> np.ndarray:
    """What happens to the adaptation after each transition: Stan's windows, then nothing.

    Parameters
    ----------
    warmup, draws
        Numbers of transitions.

    Returns
    -------
    np.ndarray
        One of FAST, SLOW, WINDOW_END, WARMUP_END, DRAW per transition, int32.
    """
    with lenient():
        slow, window_end = np.asarray(
            _blackjax("adaptation.window_adaptation").build_schedule(warmup)
        ).T
    plan = np.where(window_end > 0, WINDOW_END, np.where(slow > 0, SLOW, FAST))
    plan[-1] = WARMUP_END
    return np.concatenate([plan, np.full(draws, DRAW)]).astype(np.int32)


def _floats(tree):
    # Python numbers and weak types become plain arrays: a state read from a checkpoint must not
    # differ in type from a fresh one, or it would compile again.
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), tree)


def start_chains(posterior, whitening: Whitening, positions: Float[Array, "chain dim"]) -> Any:
    """Log density and gradient of every chain at its first point, with the program of the fits."""
    frame = Frame(whitening.offset, jnp.ones_like(whitening.offset))
    steps = positions @ whitening.matrix.T
    values, slopes = value_and_gradient.all(posterior, frame, steps)
    volumes, volume_slopes = log_volume(prior_only(posterior), whitening.offset[None] + steps)
    state = _blackjax("mcmc.hmc").HMCState
    return state(positions, volumes - values, (volume_slopes - slopes) @ whitening.matrix)


def start_adaptation(hmc: Any, *, dense: bool) -> Chains:
    """The state before the first transition: unit metric, step size one."""
    dim = hmc.position.shape[1]
    averaging, welford = _algorithms(0.8, dense)  # the target plays no part here
    return _floats(
        Chains(
            hmc=hmc,
            step_size=1.0,
            inverse_mass=jnp.eye(dim) if dense else jnp.ones(dim),
            averaging=averaging[0](1.0),
            welford=welford[0](dim),
        )
    )


def _algorithms(target_acceptance, dense: bool):
    """Start, update and end of dual averaging and of Welford's algorithm."""
    return (
        _blackjax("adaptation.step_size").dual_averaging_adaptation(target_acceptance),
        _blackjax("adaptation.mass_matrix").welford_algorithm(not dense),
    )


@eqx.filter_jit
def advance(
    posterior,
    whitening: Whitening,
    key: Key[Array, ""],
    chains: Chains,
    plan: Int[Array, " chunk"],
    first: Int[Array, ""],
    count: Int[Array, ""],
    target_acceptance: Float[Array, ""],
    *,
    dense: bool,
    max_depth: int,
    at_once: bool,
) -> tuple[Chains, Chunk]:
    """Do ``count`` transitions of all chains, adapting after each as ``plan`` says.

    The random numbers of a transition depend on ``key`` and its number in the run alone, so
    the cutting into chunks does not change any draw.

    Parameters
    ----------
    posterior, whitening
        The target density and the sampler's coordinates.
    key
        Random key of the whole run.
    chains
        The state to go on from.
    plan
        Stage of each transition (see :func:`stages`), padded to ``CHUNK`` entries.
    first
        Number, within the run, of the first transition.
    count
        How many to do, at most ``CHUNK``.
    target_acceptance
        Mean acceptance probability that the step size is adapted to.
    dense, max_depth, at_once
        Kind of metric, most doublings of a trajectory, chains at once or in turn.

    Returns
    -------
    tuple[Chains, Chunk]
        The state after, and what the transitions gave.
    """
    kernel = _blackjax("mcmc.nuts").build_kernel()

    def log_density(v):
        return posterior.log_density(whitening.offset + whitening.matrix @ v)

    def each(transition, arguments):
        # In turn, no chain waits for the longest trajectory.
        return jax.vmap(transition)(arguments) if at_once else jax.lax.map(transition, arguments)

    def body(index, carry):
        chains, chunk = carry
        keys = jax.random.split(jax.random.fold_in(key, first + index), len(chains.hmc.position))

        def transition(arguments):
            key, hmc = arguments
            return kernel(key, hmc, log_density, chains.step_size, chains.inverse_mass, max_depth)

        hmc, info = each(transition, (keys, chains.hmc))
        step = Chunk(
            u=whitening.offset[None] + hmc.position @ whitening.matrix.T,
            log_density=hmc.logdensity,
            acceptance=info.acceptance_rate,
            diverging=info.is_divergent,
            tree_depth=info.num_trajectory_expansions,
            leapfrogs=info.num_integration_steps,
        )
        chunk = jax.tree.map(lambda rows, row: rows.at[index].set(row), chunk, step)
        chains = chains._replace(hmc=hmc)
        mean_acceptance = jnp.mean(info.acceptance_rate)
        return _adapt(chains, plan[index], mean_acceptance, target_acceptance, dense), chunk

    shape, dtype = chains.hmc.position.shape, chains.hmc.position.dtype
    empty = Chunk(
        u=jnp.zeros((CHUNK, *shape), dtype),
        log_density=jnp.zeros((CHUNK, shape[0]), dtype),
        acceptance=jnp.zeros((CHUNK, shape[0]), dtype),
        diverging=jnp.zeros((CHUNK, shape[0]), bool),
        tree_depth=jnp.zeros((CHUNK, shape[0]), int),
        leapfrogs=jnp.zeros((CHUNK, shape[0]), int),
    )
    return jax.lax.fori_loop(0, count, body, (chains, empty))


def _adapt(chains: Chains, stage, acceptance, target_acceptance, dense: bool) -> Chains:
    averaging, welford = _algorithms(target_acceptance, dense)
    start_averaging, update_averaging, final_averaging = averaging
    start_welford, update_welford, final_welford = welford
    dim = chains.hmc.position.shape[1]

    def fast(chains):
        averaging = update_averaging(chains.averaging, acceptance)
        return chains._replace(averaging=averaging, step_size=jnp.exp(averaging.log_step_size))

    def slow(chains):
        welford, _ = jax.lax.scan(
            lambda state, position: (update_welford(state, position), None),
            chains.welford,
            chains.hmc.position,
        )
        return fast(chains)._replace(welford=welford)

    def window_end(chains):
        chains = slow(chains)
        covariance, size, _ = final_welford(chains.welford)
        # Stan's shrinkage, but towards the metric so far: in whitened coordinates that is good.
        inverse_mass = (size * covariance + 5.0 * chains.inverse_mass) / (size + 5.0)
        averaging = start_averaging(final_averaging(chains.averaging))
        return chains._replace(
            inverse_mass=inverse_mass,
            averaging=averaging,
            step_size=jnp.exp(averaging.log_step_size),
            welford=start_welford(dim),
        )

    def warmup_end(chains):
        chains = fast(chains)
        return chains._replace(step_size=final_averaging(chains.averaging))

    branches = [fast, slow, window_end, warmup_end, lambda chains: chains]
    return jax.lax.switch(stage, [lambda c, f=f: _floats(f(c)) for f in branches], chains)
