"""Disks put into data, and whether a fit finds them again."""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Fit, Posterior, Table, fit
from pytreefit.extend import as_data, check_kind

from ..data.observation import Observation
from ..scene import Scene
from ..view.view import View
from .relearn import deviations, fit_frames
from .sequence import FrameSequence

_D = TypeVar("_D", Observation, FrameSequence)


def inject(data: _D, scene: Scene, factor: float = 1.0) -> _D:
    """Return data to which a scene was added, as it is seen in each frame.

    Nothing is rotated by interpolation. Components of starlight stay those of the data without it:
    learn them anew.

    Parameters
    ----------
    data
        An `Observation` or a `FrameSequence`.
    scene
        On the pixels of the data.
    factor
        How often it is added; -1 takes a disk out.

    Raises
    ------
    ValueError, TypeError
        For other data, and a scene of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from grater import Disk, Scene
    >>> sky = Observation(np.zeros((9, 9)), 1.0, pixel_scale=0.2, distance=60.0)
    >>> disk = Disk(40.0, 60.0, 0.0, alpha_in=5, alpha_out=-5, scale_height=2)
    >>> scene = Scene(disk, grid=sky.grid, accuracy=1e-2)
    >>> bool((inject(sky, scene).image == scene.image()).all())
    True
    """
    check_kind("data", data, Observation | FrameSequence)
    check_kind("scene", scene, Scene)
    if isinstance(data, FrameSequence):
        return data.set({"image": data.image + factor * data.models(scene)})
    light = data.seen(scene).image()
    if light.shape != data.shape:
        raise ValueError(
            f"The scene's image has shape {light.shape}, the observation's {data.shape}: build the "
            "scene with grid=observation.grid."
        )
    return data.set({"image": data.image + factor * light})


class Injections(NamedTuple):
    """What `inject_and_fit` found.

    Parameters
    ----------
    names
        Of the parameters, with an index for those of several numbers.
    turns
        By which the disks were turned, degrees, shape (n,).
    truth
        What was put in, shape (parameters,).
    found, errors
        The best values and their standard deviations by the likelihood, (n, parameters); NaN for
        those at the edge of their prior.
    fits
        The fits themselves.
    """

    names: tuple[str, ...]
    turns: Float[np.ndarray, " n"]
    truth: Float[np.ndarray, " parameters"]
    found: Float[np.ndarray, "n parameters"]
    errors: Float[np.ndarray, "n parameters"]
    fits: tuple[Fit, ...]

    @property
    def pulls(self) -> Float[np.ndarray, "n parameters"]:
        """Found minus true in units of the errors: 0 on average, with a scatter of 1."""
        return (self.found - self.truth) / self.errors

    def summary(self) -> Table:
        """The table of truth, mean of what was found, its scatter, and the usual error."""
        rows = []
        for k, name in enumerate(self.names):
            off = self.found[:, k] - self.truth[k]
            scatter = np.sqrt(np.mean(off**2))
            values = self.truth[k], np.mean(off), scatter, np.nanmedian(self.errors[:, k])
            rows.append((name, *(f"{value:.4g}" for value in values)))
        return Table(("parameter", "truth", "mean offset", "rms offset", "usual error"), rows)


def inject_and_fit(
    data: Observation | FrameSequence,
    scene: Scene,
    priors: Any,
    turns: Iterable[float],
    *,
    remove: Scene | None = None,
    **how: Any,
) -> Injections:
    """Put a disk into data at other position angles, fit each copy, and compare.

    The field's test of a whole analysis: where speckles and correlated noise that no likelihood
    knows are in the way, the copies tell the errors. The view is turned and not the disk, so that
    position angles are those of ``scene`` in all fits, and priors stay as they are.

    Parameters
    ----------
    data
        An `Observation`, or a `FrameSequence`, whose components are learned anew by `fit_frames`
        for each copy if it has some.
    scene
        The disk that is put in, in the view of the data, where each fit starts.
    priors
        Of the parameters that are fitted, as for `pytreefit.Posterior`.
    turns
        By how much the disk is turned in each copy, degrees from North to East.
    remove
        The disk that is in the data, taken out first.
    **how
        Further arguments of `pytreefit.fit`, or of `fit_frames`.

    Raises
    ------
    ValueError, TypeError
        As `inject`, `pytreefit.Posterior` and `pytreefit.fit`; without turns.
    """
    turns = as_data("inject_and_fit: turns", turns, "deg", ndim=1)
    if not turns.size or not np.all(np.isfinite(turns)):
        raise ValueError(f"inject_and_fit: turns = {turns} must be some finite angles.")
    check_kind("data", data, Observation | FrameSequence)
    check_kind("scene", scene, Scene)
    empty = data if remove is None else inject(data, remove, -1.0)
    path = "grid.roll" if isinstance(scene.view, View) else f"view.{data.view}.grid.roll"
    fits, errors = [], []
    for turn in turns:
        seen = scene.set({path: scene.get(path) - turn})
        copy = inject(empty, seen)
        if isinstance(copy, FrameSequence):
            best, posterior = _fitted(copy, seen, priors, how)
        else:  # North is elsewhere in the same pixels
            posterior = Posterior(seen, copy.set({"roll": seen.get(path)}).log_likelihood, priors)
            best = fit(posterior, **how)
        fits.append(best)
        errors.append(_flat(deviations(posterior, best)))
    return _compared(turns, scene, fits, errors)


def _fitted(frames: FrameSequence, scene: Scene, priors, how) -> tuple[Fit, Posterior]:
    """The fit to frames, whose starlight is learned anew if they have components of it."""
    if frames.components is None:
        posterior = Posterior(scene, frames.log_likelihood, priors)
        return fit(posterior, **how), posterior
    learned = frames.learn(frames.components.klip)
    done = fit_frames(Posterior(scene, learned.log_likelihood, priors), **how)
    return done.best, done.posterior


def _flat(values: dict[str, Array]) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(value)) for value in values.values()])


def _compared(turns, scene, fits, errors) -> Injections:
    names = []
    for name, value in fits[0].values.items():
        indices = np.ndindex(jnp.shape(value))
        names += [name + (f"[{', '.join(map(str, k))}]" if k else "") for k in indices]
    truth = _flat({name: scene.get(name) for name in fits[0].values})
    found = np.array([_flat(best.values) for best in fits])
    return Injections(tuple(names), turns, truth, found, np.array(errors), tuple(fits))
