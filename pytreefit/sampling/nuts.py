"""NUTS with window adaptation, cut into chunks: one compiled function for warm-up and draws."""

import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from .._jit import jit
from ..numeric import lenient
from ..optimize.evaluate import Frame, at_once, log_volume
from ..optimize.minimisers import value_and_gradient
from ..progress import CHUNK
from ..space import prior_only
from ..threads import in_threads
from . import jumps as _jumps
from .jumps import Mixture
from .whitening import Whitening, bent

FAST, SLOW, WINDOW_END, WARMUP_END, DRAW = range(5)


def _blackjax(module: str) -> Any:
    """A module of BlackJAX, whose import takes seconds and starts JAX's backends."""
    return importlib.import_module(f"blackjax.{module}")


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
    """What the transitions of a chunk gave, step after step."""

    u: Float[Array, "step chain dim"]
    log_density: Float[Array, "step chain"]
    acceptance: Float[Array, "step chain"]
    diverging: Array
    tree_depth: Int[Array, "step chain"]
    leapfrogs: Int[Array, "step chain"]
    jumps: Int[Array, "step chain"]


class Jumps(NamedTuple):
    """Proposals drawn from a mixture after each trajectory, and how many of them."""

    mixture: Mixture
    number: Int[Array, ""]


def stages(warmup: int, draws: int) -> np.ndarray:
    """What happens to the adaptation after each transition: Stan's windows, then nothing."""
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
    zero = jnp.zeros_like(whitening.middle)
    u = jax.vmap(whitening.u)(positions)
    frame = Frame(whitening.u(zero), jnp.ones_like(zero))
    values, slopes = value_and_gradient(posterior, frame, u - frame.offset[None])
    volumes, volume_slopes = log_volume(prior_only(posterior), u)
    own, gradients = bent(whitening, positions, volume_slopes - slopes)
    state = _blackjax("mcmc.hmc").HMCState
    return state(positions, volumes + own - values, gradients)


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


def advance(
    posterior,
    whitening: Whitening,
    key: Key[Array, ""],
    chains: Chains,
    plan: np.ndarray,
    first: int,
    target_acceptance: float,
    jumps: Jumps | None,
    *,
    dense: bool,
    max_depth: int,
) -> tuple[Chains, Chunk | None]:
    """Do a transition of all chains for each stage of ``plan``, adapting after it as that says.

    The plan (see :func:`stages`) has at most ``CHUNK`` stages; with none the program is compiled.
    The random numbers depend on the key of the whole run and on the number, within the run, of the
    first transition. Without ``jumps`` nothing is proposed after a trajectory. Returned are the
    state after, and what the transitions gave (NumPy arrays), or None.
    """

    def transitions(chains, at, count):
        """Some transitions in a row, the first one at a place of the plan."""
        common = (posterior, whitening, key, chains.hmc, chains.step_size, chains.inverse_mass)
        return _transitions(*common, jumps, first=first + at, count=count, max_depth=max_depth)

    if not len(plan):
        transitions(chains, 0, 0)
    chunks, at = [], 0
    target = jnp.asarray(target_acceptance, whitening.middle.dtype)
    while at < len(plan):
        count = len(plan) - at if np.all(plan[at:] == DRAW) else 1
        hmc, chunk = transitions(chains, at, count)
        chains = chains._replace(hmc=jax.tree.map(jnp.asarray, hmc))
        if plan[at] != DRAW:
            acceptance = jnp.asarray(chunk.acceptance.mean(), target.dtype)
            stage = jnp.asarray(plan[at], jnp.int32)
            chains = _adapt(chains, stage, acceptance, target, dense)
        chunks.append(chunk)
        at += count
    return chains, Chunk(*map(np.concatenate, zip(*chunks, strict=True))) if chunks else None


def _transitions(*common, first: int, count: int, max_depth: int):
    """The end of all chains and what they gave, after some transitions in a row."""
    limits = jnp.asarray(first, jnp.int32), jnp.asarray(count, jnp.int32)

    def one(k):
        return _one_chain(*common, *limits, jnp.asarray(k, jnp.int32), max_depth=max_depth)

    if at_once():
        hmc, chunk = _all_chains(*common, *limits, max_depth=max_depth)
    else:
        number = len(common[3].position)
        ends = in_threads(one, range(number))
        hmc, chunk = jax.tree.map(lambda *leaves: np.stack(leaves), *ends)
    return hmc, jax.tree.map(lambda rows: np.asarray(rows)[:, :count].swapaxes(0, 1), chunk)


def _jump(log_density, jumps: Jumps, key, hmc):
    """Independence Metropolis steps with the mixture; the state after, and how many moved it."""
    value_and_grad = jax.value_and_grad(log_density)

    def one(index, carry):
        hmc, here, moved = carry
        propose, accept = jax.random.split(jax.random.fold_in(key, index))
        position = _jumps.draw(jumps.mixture, propose)
        new = type(hmc)(position, *value_and_grad(position))
        there = _jumps.log_density(jumps.mixture, position)
        gain = new.logdensity - hmc.logdensity + here - there
        good = jnp.isfinite(new.logdensity) & jnp.all(jnp.isfinite(new.logdensity_grad))
        uniform = jax.random.uniform(accept, dtype=here.dtype)
        go = good & (jnp.log(uniform) < gain)
        pick = jax.tree.map(lambda a, b: jnp.where(go, a, b), (new, there), (hmc, here))
        return *pick, moved + go.astype(moved.dtype)

    here = _jumps.log_density(jumps.mixture, hmc.position)
    hmc, _, moved = jax.lax.fori_loop(0, jumps.number, one, (hmc, here, jnp.zeros((), int)))
    return hmc, moved


def _chain(
    posterior, whitening, key, hmc, step_size, inverse_mass, jumps, first, count, chain, max_depth
):
    """Some transitions of one chain; the chunk has ``CHUNK`` rows, zero after ``count``."""
    kernel = _blackjax("mcmc.nuts").build_kernel()

    def log_density(v):
        return posterior.log_density(whitening.u(v)) + whitening.log_volume(v)

    def body(index, carry):
        hmc, chunk = carry
        now = jax.random.fold_in(jax.random.fold_in(key, first + index), chain)
        hmc, info = kernel(now, hmc, log_density, step_size, inverse_mass, max_depth)
        moved = jnp.zeros((), int)
        if jumps is not None:
            hmc, moved = _jump(log_density, jumps, jax.random.fold_in(now, 1), hmc)
        step = Chunk(
            u=whitening.u(hmc.position),
            log_density=hmc.logdensity - whitening.log_volume(hmc.position),
            acceptance=info.acceptance_rate,
            diverging=info.is_divergent,
            tree_depth=info.num_trajectory_expansions,
            leapfrogs=info.num_integration_steps,
            jumps=moved,
        )
        return hmc, jax.tree.map(lambda rows, row: rows.at[index].set(row), chunk, step)

    hmc = jax.tree.map(lambda leaf: leaf[chain], hmc)
    dtype = hmc.position.dtype
    empty = Chunk(
        u=jnp.zeros((CHUNK, *hmc.position.shape), dtype),
        log_density=jnp.zeros(CHUNK, dtype),
        acceptance=jnp.zeros(CHUNK, dtype),
        diverging=jnp.zeros(CHUNK, bool),
        tree_depth=jnp.zeros(CHUNK, int),
        leapfrogs=jnp.zeros(CHUNK, int),
        jumps=jnp.zeros(CHUNK, int),
    )
    return jax.lax.fori_loop(0, count, body, (hmc, empty))


_one_chain = jit(_chain)


@jit
def _all_chains(posterior, whitening, key, hmc, *rest, max_depth):
    def chain(k):
        return _chain(posterior, whitening, key, hmc, *rest, k, max_depth=max_depth)

    return jax.vmap(chain)(jnp.arange(len(hmc.position), dtype=jnp.int32))


@jit
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
