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

from .._fork import refuse_fork
from ..arrays import as_number, as_whole_number, check_choice, check_kind
from ..optimize.start import refuse_start, start_coordinates
from ..posterior import Posterior
from ..progress import Pace, Reporter, duration
from ..results.limits import cut_off
from ..results.samples import Samples
from .checkpoint import Checkpoint, fingerprints, kept, read, write
from .jumps import fit_mixture, no_mixture
from .mixture import sample_mixture
from .nuts import Chunk, Jumps, advance, stages, start_adaptation, start_chains
from .whitening import Whitening, bend_to, coordinates

_LEAST_WARMUP = 20
_FEW = 10  # parameters for which a mixture is tried
_JUMPS = 8  # for each draw, where the mixture failed
_ATTEMPTS = 10
_PILOT = 0.4  # part of the warm-up after which coordinates are bent, if a parameter is at an edge
_LOOKS = (0.25, 0.5, 0.75, 1.0)  # parts of the warm-up after which jumps are learned


def sample(
    posterior: Posterior,
    key: Array,
    *,
    method: str = "nuts",
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
    r"""Draw from the posterior.

    With the No-U-Turn sampler, in coordinates in which the posterior is nearly a standard Gaussian;
    step size and metric are adapted in Stan's windows, to all chains together. Or by importance
    sampling, which takes values only, weighs modes, and finds the evidence.

    Parameters
    ----------
    posterior, key
        What to draw from, and a random key; the same key gives the same draws.
    method
        ``"nuts"``, ``"mixture"`` (importance sampling, see `Samples.importance`), or ``"auto"``,
        which tries that for up to ten parameters and goes on with NUTS where it fails.
    start
        A :class:`Fit` or :class:`Laplace`, whose Gaussian the chains start from; None or a
        dictionary of values: near these. A list of such, for all modes that are known.
    chains, warmup, draws
        Number of chains, and of transitions of each for adaptation (at least 20) and after that; of
        the mixture chains times draws, half of them effective if it works.
    dense, target_acceptance, precondition, max_depth, jumps
        Of NUTS: whether the metric has off-diagonal elements; the acceptance that the step size is
        for (0.95 if there are divergences); whether a ``start`` that is a fit whitens (``"auto"``)
        or not (``"none"``); most doublings of a trajectory; Metropolis steps after each trajectory
        between modes that the warm-up has found.
    progress, checkpoint
        As for :func:`fit`; a file for the state of one NUTS run, which then goes on from there.
        Compiled programs are kept meanwhile as by :func:`cache_programs`.

    Raises
    ------
    ValueError, FileNotFoundError, KeyboardInterrupt
        For arguments out of range, a start or a checkpoint that does not fit, one in use or without
        folder; on Ctrl-C, unless there are draws and no checkpoint: these come with a warning.
    """
    settings: dict[str, Any] = dict(chains=chains, warmup=warmup, draws=draws, dense=dense)
    settings |= dict(target_acceptance=target_acceptance, max_depth=max_depth, jumps=jumps)
    _check(posterior, settings, precondition, method, checkpoint)
    how = precondition, Reporter(progress), checkpoint
    samples = _drawn(posterior, _typed(key), method, start, settings, how)
    _warn(posterior, samples)
    return samples


def _warn(posterior: Posterior, samples: Samples) -> None:
    """Warn of draws that are not to be trusted, or that a prior cuts off."""
    samples.warn(stacklevel=4)
    remarks = cut_off(posterior.priors, samples.model, samples.columns)
    for remark in filter(None, (*remarks, posterior.remark(_medians(samples)))):
        warnings.warn(remark, stacklevel=3)


def _drawn(posterior, key, method: str, start, settings: dict[str, Any], how) -> Samples:
    """Draws by a method; by NUTS from those of the mixture where this may fail and does."""
    starts = list(start) if isinstance(start, list | tuple) else [start]
    precondition, tell, checkpoint = how
    if method == "mixture" or (method == "auto" and posterior.dim <= _FEW):
        shape = settings["chains"], settings["draws"]
        samples = sample_mixture(posterior, key, starts, shape, tell)
        if method == "mixture" or (samples.importance and samples.importance.good):
            return samples
        others = range(settings["chains"] - 1)
        found = [{name: draws[k, 0] for name, draws in samples.draws.items()} for k in others]
        starts = [starts[0], *found]  # the first one is for the coordinates
        settings = settings | {"jumps": settings["jumps"] or _JUMPS}
    with kept(checkpoint):
        run = _Run(posterior, key, settings, tell, checkpoint)
        return run.run(starts, precondition)


def _medians(samples: Samples) -> dict[str, np.ndarray]:
    return {name: np.median(samples.draws[name], axis=(0, 1)) for name in samples.names}


def _check(posterior, settings: dict[str, Any], precondition: str, method: str, path) -> None:
    refuse_fork()
    check_kind("posterior", posterior, Posterior)
    least = {"chains": 1, "warmup": _LEAST_WARMUP, "draws": 4, "max_depth": 1, "jumps": 0}
    for name, lowest in least.items():
        settings[name] = as_whole_number(name, settings[name], lowest)
    if not 0 < as_number("target_acceptance", settings["target_acceptance"]) < 1:
        raise ValueError(
            f"target_acceptance = {settings['target_acceptance']} must be between 0 and 1."
        )
    check_choice("precondition", precondition, ("auto", "none"))
    check_choice("method", method, ("nuts", "mixture", "auto"))
    if method == "mixture" and path is not None:
        raise ValueError(
            f"checkpoint = {os.fspath(path)} is for NUTS: importance sampling keeps none. Leave it "
            "out, or use method='nuts'."
        )


def _typed(key):
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    if isinstance(key, jax.Array) and key.dtype == jnp.uint32:
        return jax.random.wrap_key_data(key)
    raise TypeError(f"key = {key!r} must be a random key: pass jax.random.key(0).")


class _Run:
    """One call of :func:`sample`: what is fixed, and how far it has come."""

    def __init__(self, posterior, key, settings: dict[str, Any], tell, path):
        self.posterior, self.settings = posterior, settings
        self.first_key, self.key = jax.random.split(key)
        self.tell, self.path = tell, path
        self.owner = fingerprints(posterior, key, **settings) if path is not None else {}
        self.done = 0
        self.chunks: list[Chunk] = []
        self.mixture = no_mixture(1, float)
        self.looked = 0  # how many transitions it was learned from
        self.seconds = {"compile": 0.0, "warmup": 0.0, "sampling": 0.0}

    def run(self, starts: list, precondition: str) -> Samples:
        """The whole run; on Ctrl-C it ends early if there are draws that no checkpoint keeps."""
        warmup, draws = self.settings["warmup"], self.settings["draws"]
        edge = precondition == "auto" and getattr(starts[0], "at_edge", ())
        # the first part of the warm-up shows how parameters at an edge are distributed
        self.pilot = int(_PILOT * warmup) if edge and _PILOT * warmup >= _LEAST_WARMUP else 0
        parts = [(self.pilot, 0)] if self.pilot else []
        plans = [stages(*part) for part in (*parts, (warmup - self.pilot, draws))]
        self.plan = np.concatenate(plans)
        if not self.resume():
            others = [start_coordinates(self.posterior, other) for other in starts[1:]]
            self.begin(*coordinates(self.posterior, starts[0], precondition), others)
        try:
            self.finish()
        except KeyboardInterrupt:
            drawn = self.done - self.settings["warmup"]
            if self.path is not None or drawn < 4:
                raise
            message = f"Interrupted after {drawn} of {self.settings['draws']} draws."
            warnings.warn(message, UserWarning, stacklevel=3)
        return self.samples()

    def begin(self, whitening: Whitening, spread: float, others=()) -> None:
        """First points of all chains, each with a finite log density.

        Chains start around the origin of the whitened coordinates, and in turn around the others.
        """
        self.whitening = whitening
        number, dim = self.settings["chains"], len(whitening.middle)
        noise = jax.random.normal(self.first_key, (number, dim), whitening.middle.dtype)
        first = whitening.u(jnp.zeros_like(whitening.middle))
        middles = whitening.v(np.stack([first, *others]))
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
            refuse_start(self.posterior, first)
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
            stops = [at for at in (*self._looks(), self.pilot) if at > self.done]
            self._advance(pace.begin(min([*stops, end]) - self.done))
            if self.done == self.pilot:
                self._bend()
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

    def _bend(self) -> None:
        """Coordinates in which the draws so far are nearly Gaussian; the chains stay in place."""
        u, dtype = self._rows().u, self.whitening.middle.dtype
        self.whitening = bend_to(u[len(u) // 3 :].reshape(-1, u.shape[-1]), dtype)
        places = jnp.asarray(self.whitening.v(u[-1]), dtype)
        hmc = start_chains(self.posterior, self.whitening, places)
        self.state = start_adaptation(hmc, dense=self.settings["dense"])
        self.looked = 0

    def _jumps_now(self) -> Jumps | None:
        """None of them at first; then by what the warm-up has found until it was looked at."""
        number, middle = self.settings["jumps"], self.whitening.middle
        if not number:
            return None
        looked = max((at for at in self._looks() if at <= self.done), default=0)
        if not looked:
            return Jumps(no_mixture(len(middle), middle.dtype), jnp.asarray(0, jnp.int32))
        if looked != self.looked:
            u = self._rows().u[looked // 4 : looked].reshape(-1, len(middle))
            v = self.whitening.v(u)
            self.mixture, self.looked = fit_mixture(v, middle.dtype), looked
        return Jumps(self.mixture, jnp.asarray(number, jnp.int32))

    def _looks(self) -> list[int]:
        """After how many transitions the mixture of the jumps is learned (again)."""
        warmup = self.settings["warmup"]
        return [max(int(part * warmup), 4) for part in _LOOKS] if self.settings["jumps"] else []

    def _rows(self) -> Chunk:
        return jax.tree.map(lambda *rows: np.concatenate(rows), *self.chunks)

    def _write(self) -> None:
        checkpoint = Checkpoint(
            owner=self.owner,
            done=self.done,
            whitening=tuple(jax.device_get(tuple(self.whitening))),
            state=tuple(jax.device_get(jax.tree.leaves(self.state))),
            chunks=self._rows()._asdict(),
            seconds=self.seconds,
        )
        write(self.path, checkpoint)

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
