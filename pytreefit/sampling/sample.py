"""Sampling with NUTS: in chunks, so that it shows progress and can be killed and resumed."""

import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..optimize.evaluate import Frame, log_volume, log_volume_curvature
from ..optimize.laplace import Laplace, curvature_at
from ..optimize.minimisers import least_squares, value_and_gradient
from ..optimize.start import refuse_start, start_coordinates
from ..progress import Pace, Reporter, duration
from ..results.samples import Samples
from ..space import coordinate_names, natural_range, prior_only
from .checkpoint import Checkpoint, fingerprints, read, write
from .jumps import fit_mixture, no_mixture
from .nuts import Chunk, Jumps, Whitening, advance, stages, start_adaptation, start_chains

_LEAST_WARMUP = 20
_ATTEMPTS = 10
_SETTLING, _SETTLED = 20, 0.05  # most steps to the sampled maximum, and the gain to stop at
_LOOKS = (0.25, 0.5, 0.75, 1.0)  # parts of the warm-up after which jumps are learned
_SOFTEST = 0.1  # least curvature used for whitening, in units of the prior's width


def sample(
    posterior,
    key: Array,
    *,
    start: Any = None,
    chains: int = 4,
    warmup: int = 500,
    draws: int = 500,
    dense: bool = True,
    target_acceptance: float = 0.8,
    precondition: str = "auto",
    max_depth: int = 10,
    jumps: int = 0,
    progress: bool | Callable[[str], object] = True,
    checkpoint: str | os.PathLike | None = None,
) -> Samples:
    r"""Draw from the posterior with the No-U-Turn sampler.

    The chains move in coordinates :math:`v` in which the posterior is nearly a standard Gaussian,

    .. math::

        u = u_0 + L v, \qquad L L^\mathsf{T} = \Sigma_u,

    with :math:`u_0` and :math:`\Sigma_u` from the fit in ``start`` (from the prior without it).
    Step size and metric are adapted in Stan's windows during warm-up, to all chains together.

    Parameters
    ----------
    posterior
        What to draw from, a :class:`Posterior`.
    key
        Random key; the same key gives the same draws.
    start
        A :class:`Fit` or :class:`Laplace`: the chains start from draws of the Gaussian there. None
        or a dictionary of values: they start near these. With a list of such starts, for a
        posterior of several modes, the chains start from each in turn, and `jumps` let them meet.
    chains
        Number of chains.
    warmup
        Transitions of each chain for adaptation, at least 20.
    draws
        Draws of each chain after that.
    dense
        Whether the metric has off-diagonal elements.
    target_acceptance
        Mean acceptance probability to adapt the step size to, between 0 and 1; raise it to 0.95
        if there are divergences.
    precondition
        ``"auto"`` whitens with the covariance at ``start`` if that is a fit: from the residuals'
        Jacobian where the posterior has residuals, else from second derivatives. ``"none"``
        uses the widths of the priors only.
    max_depth
        Most doublings of a trajectory: at most ``2**max_depth - 1`` gradients per draw.
    jumps
        Metropolis steps after each trajectory, proposed from a mixture of up to eight Student's t
        distributions: for posteriors of several modes between which trajectories seldom pass. The
        mixture is learned from the draws of all chains after each quarter of the warm-up, which
        must find the modes. Each step costs a gradient.
    progress
        True writes lines to standard error, False nothing; a function gets each line.
    checkpoint
        File that the state is written to every few seconds. If it exists, the run goes on from
        there, and gives the same draws as one that was never interrupted.

    Returns
    -------
    Samples
        Draws by name, diagnostics, tables and plots.

    Raises
    ------
    ValueError
        If an argument is outside its range, the log density is not finite at the start, or the
        checkpoint is of another model.
    KeyboardInterrupt
        On Ctrl-C, unless there are draws and no checkpoint: then these draws are returned, with a
        warning.

    Notes
    -----
    The sampler is BlackJAX's (Cabezas et al. 2024, arXiv:2402.10797) form of Hoffman & Gelman
    (2014, JMLR 15, 1593) with the multinomial trajectories of Betancourt (2017, arXiv:1701.02434).
    Jumps are independence Metropolis-Hastings steps (Tierney 1994, Ann. Statist. 22, 1701); as
    their proposals do not change during the draws, these keep the posterior exactly.
    """
    _check(chains, warmup, draws, target_acceptance, precondition, max_depth, jumps)
    key = _typed(key)
    run = _Run(
        posterior,
        key,
        dict(
            chains=chains,
            warmup=warmup,
            draws=draws,
            dense=dense,
            target_acceptance=target_acceptance,
            max_depth=max_depth,
            jumps=jumps,
        ),
        Reporter(progress),
        checkpoint,
    )
    if not run.resume():
        starts = start if isinstance(start, list | tuple) else [start]
        whitening, spread = _coordinates(posterior, starts[0], precondition)
        others = [start_coordinates(posterior, other) for other in starts[1:]]
        run.begin(whitening, spread, others)
    try:
        run.finish()
    except KeyboardInterrupt:
        drawn = run.done - warmup
        if checkpoint is not None or drawn < 4:
            raise
        warnings.warn(f"Interrupted after {drawn} of {draws} draws.", UserWarning, stacklevel=2)
    samples = run.samples()
    samples.warn(stacklevel=3)
    return samples


def _check(chains, warmup, draws, target_acceptance, precondition, max_depth, jumps) -> None:
    least = {
        "chains": (chains, 1),
        "warmup": (warmup, _LEAST_WARMUP),
        "draws": (draws, 4),
        "max_depth": (max_depth, 1),
        "jumps": (jumps, 0),
    }
    for name, (value, lowest) in least.items():
        if value < lowest:
            raise ValueError(f"{name} = {value} must be at least {lowest}.")
    if not 0 < target_acceptance < 1:
        raise ValueError(f"target_acceptance = {target_acceptance} must be between 0 and 1.")
    if precondition not in ("auto", "none"):
        raise ValueError(f"precondition = {precondition!r} must be 'auto' or 'none'.")


def _typed(key):
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    if isinstance(key, jax.Array) and key.dtype == jnp.uint32:
        return jax.random.wrap_key_data(key)
    raise TypeError(f"key = {key!r} must be a random key: pass jax.random.key(0).")


def _coordinates(posterior, start, precondition: str) -> tuple[Whitening, float]:
    """The sampler's coordinates, and the spread of the first points in them."""
    u = start_coordinates(posterior, start)
    middle, scale = natural_range(posterior)
    if precondition == "none" or not hasattr(start, "u"):
        return Whitening(u, jnp.diag(scale)), 0.1
    edge = np.isin(coordinate_names(posterior), getattr(start, "at_edge", ()))
    inside = middle + jnp.clip(u - middle, -2.0 * scale, 2.0 * scale)
    frame = Frame(jnp.where(edge, inside, u), scale)
    if isinstance(start, Laplace):
        hessian = jnp.linalg.inv(start.covariance_u / (scale[:, None] * scale[None, :]))
    else:
        frame, hessian = _settle(posterior, frame)
    volume = log_volume_curvature(prior_only(posterior), frame)
    eigenvalues, vectors = jnp.linalg.eigh(hessian + volume)
    widths = jax.lax.rsqrt(jnp.maximum(eigenvalues, _SOFTEST))
    return Whitening(frame.offset, scale[:, None] * vectors * widths[None, :]), 1.0


def _settle(posterior, frame: Frame):
    """From the best fit to the maximum of what is sampled, and the curvature there.

    The volume element of the unconstrained coordinates draws parameters that the data leave open
    away from the edges of their priors, where the curvature says nothing about the width. The
    curvature is the Fisher matrix where there are residuals, otherwise the second derivatives.
    """
    prior, zero = prior_only(posterior), jnp.zeros_like(frame.offset)

    def target(frame):
        if posterior.residuals is None:
            value, gradient = value_and_gradient(posterior, frame, zero)
            hessian = None
        else:
            value, gradient, hessian = least_squares(posterior, frame, zero)
        volumes, slopes = log_volume(prior, frame.offset[None])
        return value - volumes[0], gradient - slopes[0] * frame.scale, hessian

    def curvature(frame, hessian):
        return curvature_at(posterior, frame, "hessian") if hessian is None else hessian

    value, gradient, hessian = target(frame)
    hessian = curvature(frame, hessian)
    for _ in range(_SETTLING):
        total = hessian + log_volume_curvature(prior, frame)
        eigenvalues, vectors = jnp.linalg.eigh(total)
        step = -vectors @ ((vectors.T @ gradient) / jnp.maximum(eigenvalues, _SOFTEST))
        if not -0.5 * gradient @ step > _SETTLED:
            break
        step = step / jnp.maximum(1.0, jnp.max(jnp.abs(step)))
        for shrink in (1.0, 0.3, 0.1):
            trial = Frame(frame.offset + shrink * frame.scale * step, frame.scale)
            there = target(trial)
            if there[0] < value:
                frame, (value, gradient, hessian) = trial, there
                hessian = curvature(frame, hessian)
                break
        else:
            break
    return frame, hessian


class _Run:
    """One call of :func:`sample`: what is fixed, and how far it has come."""

    def __init__(self, posterior, key, settings: dict[str, Any], tell, path):
        self.posterior, self.settings = posterior, settings
        self.first_key, self.key = jax.random.split(key)
        self.tell, self.path = tell, path
        self.plan = stages(settings["warmup"], settings["draws"])
        self.owner = fingerprints(posterior, key, **settings) if path is not None else {}
        self.done = 0
        self.chunks: list[Chunk] = []
        self.mixture = no_mixture(1, float)
        self.looked = 0  # how many transitions it was learned from
        self.seconds = {"compile": 0.0, "warmup": 0.0, "sampling": 0.0}

    def begin(self, whitening: Whitening, spread: float, others=()) -> None:
        """First points of all chains, each with a finite log density.

        Chains start around the origin of the whitened coordinates, and in turn around the others.
        """
        self.whitening = whitening
        number, dim = self.settings["chains"], len(whitening.offset)
        noise = jax.random.normal(self.first_key, (number, dim), whitening.offset.dtype)
        apart = [np.asarray(u - whitening.offset) for u in (whitening.offset, *others)]
        middles = np.linalg.solve(np.asarray(whitening.matrix), np.stack(apart).T).T
        middle = jnp.asarray(middles[np.arange(number) % len(middles)], noise.dtype)
        began = time.perf_counter()
        centre = start_chains(self.posterior, whitening, jnp.zeros_like(noise[:1]))
        # Far from Gaussian, a draw can be so improbable that no trajectory gets away from it.
        lowest = np.nan_to_num(float(centre.logdensity[0]), nan=-np.inf) - 3.0 * dim - 10.0
        for _ in range(_ATTEMPTS):
            hmc = start_chains(self.posterior, whitening, middle + spread * noise)
            density = np.asarray(hmc.logdensity)
            finite = np.isfinite(np.asarray(hmc.logdensity_grad)).all(axis=1) & np.isfinite(density)
            good = finite & (density > lowest)
            if good.all():
                break
            noise = jnp.where(jnp.asarray(good)[:, None], noise, 0.5 * noise)
        if not finite.all():
            refuse_start(self.posterior, whitening.offset)
        self.seconds["compile"] += time.perf_counter() - began
        self.state = start_adaptation(hmc, dense=self.settings["dense"])

    def resume(self) -> bool:
        """Take up the checkpoint if there is one; ValueError if it is of another model."""
        saved = None if self.path is None else read(self.path, self.owner)
        if saved is None:
            return False
        self.whitening = Whitening(*map(jnp.asarray, saved.whitening))
        position, log_density, *_ = saved.state
        hmc = start_chains(self.posterior, self.whitening, jnp.asarray(position))
        slack = 1e-3 + 1e3 * np.finfo(log_density.dtype).eps * np.abs(log_density)
        if not np.all(np.abs(np.asarray(hmc.logdensity) - log_density) <= slack):
            raise ValueError(
                f"{self.path} is a checkpoint of another model: the log density where it stopped "
                f"is {np.asarray(hmc.logdensity)} now and was {log_density}. Give another file "
                "name, or delete it to start anew."
            )
        fresh = start_adaptation(hmc, dense=self.settings["dense"])
        leaves = [jnp.asarray(leaf) for leaf in saved.state]
        self.state = jax.tree.unflatten(jax.tree.structure(fresh), leaves)
        self.done, self.seconds = saved.done, dict(saved.seconds)
        self.chunks = [Chunk(**saved.chunks)]
        self.tell(f"resumed at step {self.done} of {len(self.plan)}", final=True)
        return True

    def finish(self) -> None:
        """All remaining transitions, chunk by chunk."""
        if self.done == len(self.plan):
            return
        began = time.perf_counter()
        self._advance(0)
        self.seconds["compile"] += time.perf_counter() - began
        pace, warmup = Pace(), self.settings["warmup"]
        while self.done < len(self.plan):
            phase = "warmup" if self.done < warmup else "sampling"
            end = warmup if phase == "warmup" else len(self.plan)
            stop = min([at for at in self._looks() if at > self.done], default=end)
            self._advance(pace.begin(min(stop, end) - self.done))
            self.seconds[phase] += pace.end()
            if self.path is not None:
                self._write()
            self.tell(self._line(phase), final=self.done == end)

    def _advance(self, count: int) -> None:
        state, chunk = advance(
            self.posterior,
            self.whitening,
            self.key,
            self.state,
            self.plan[self.done : self.done + count],
            self.done,
            self.settings["target_acceptance"],
            self._jumps_now(),
            dense=self.settings["dense"],
            max_depth=self.settings["max_depth"],
        )
        if chunk is not None:
            self.chunks.append(chunk)
        self.state, self.done = state, self.done + count

    def _jumps_now(self) -> Jumps | None:
        """None of them at first; then by what the warm-up has found until it was looked at."""
        number, (offset, matrix) = self.settings["jumps"], self.whitening
        if not number:
            return None
        looked = max((at for at in self._looks() if at <= self.done), default=0)
        if not looked:
            return Jumps(no_mixture(len(offset), offset.dtype), jnp.asarray(0, jnp.int32))
        if looked != self.looked:
            u = self._rows().u[looked // 4 : looked].reshape(-1, len(offset))
            v = np.linalg.solve(np.asarray(matrix), (u - np.asarray(offset)).T).T
            self.mixture, self.looked = fit_mixture(v, offset.dtype), looked
        return Jumps(self.mixture, jnp.asarray(number, jnp.int32))

    def _looks(self) -> list[int]:
        """After how many transitions the mixture of the jumps is learned (again)."""
        warmup = self.settings["warmup"]
        return [max(int(part * warmup), 4) for part in _LOOKS] if self.settings["jumps"] else []

    def _rows(self) -> Chunk:
        return jax.tree.map(lambda *rows: np.concatenate(rows), *self.chunks)

    def _write(self) -> None:
        leaves = jax.device_get(jax.tree.leaves(self.state))
        write(
            self.path,
            Checkpoint(
                owner=self.owner,
                done=self.done,
                whitening=tuple(jax.device_get(tuple(self.whitening))),
                state=tuple(leaves),
                chunks=self._rows()._asdict(),
                seconds=self.seconds,
            ),
        )

    def _line(self, phase: str) -> str:
        warmup, draws = self.settings["warmup"], self.settings["draws"]
        step, number = (self.done, warmup) if phase == "warmup" else (self.done - warmup, draws)
        last = self.chunks[-1]
        spent = self.seconds["warmup"] + self.seconds["sampling"]
        left = spent / self.done * (len(self.plan) - self.done)
        return (
            f"{'warm-up' if phase == 'warmup' else 'draws'} {step}/{number}: "
            f"acceptance {np.mean(last.acceptance):.2f}, "
            f"{np.mean(last.leapfrogs):.1f} gradients per draw, "
            f"{int(np.sum(last.diverging))} divergences, {duration(spent)}, "
            f"about {duration(left)} left"
        )

    def samples(self) -> Samples:
        """The result, of the draws so far."""
        rows = jax.tree.map(lambda rows: rows[self.settings["warmup"] :], self._rows())
        return Samples.from_run(self.posterior, rows, self.seconds, float(self.state.step_size))
