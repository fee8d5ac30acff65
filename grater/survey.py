"""Many disks at once: the same fit of each, as rows that survive whatever ends the process."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pytreefit import Fit, Laplace, Posterior, Status, fit, laplace
from pytreefit.extend import as_mapping, as_whole_number, check_kind, lookup_parameter
from pytreefit.survey import Survey, describe, run

from .data.correlated import CorrelatedNoise
from .data.likelihood import AbstractObservation
from .data.noise import AbstractGaussianNoise
from .data.observation import Observation
from .scene import Scene
from .starts.search import (
    DiskSearch,
    _as_stated,
    _limits,
    _one_view,
    _priors,
    default_scene,
    search as find_disk,
)
from .starts.templates import RADIUS, levels_of


def fit_many(
    observations: Mapping[str, Any],
    scene: Scene | Callable[[Any], Scene] | None = None,
    priors: Mapping[Any, Any] | Callable[[Any], Mapping[Any, Any]] | None = None,
    *,
    search: bool = True,
    number: int = 12,
    steps: int = 500,
    errors: bool = True,
    correlated: bool = True,
    store: str | os.PathLike | None = None,
    configuration: Mapping[str, Any] | None = None,
    keep_fits: bool = False,
    engine: Any = None,
    shard: Any = None,
    retry: bool = False,
    progress: bool | Callable[[str], object] = True,
) -> Survey:
    """Find and fit the disks of many images, a row for each, as `search` and `fit` do for one.

    A row holds the best value of each free parameter and its standard deviation (``..._error``),
    from the Fisher matrix without those at the edges of their priors; log posterior, reduced
    chi-square, the noise's correlation if measured, how many starts agree, and ``flags`` of doubt.

    Parameters
    ----------
    observations
        By name: an `Observation` each, or a function without arguments that returns one.
    scene, priors
        As for `search`, or for `pytreefit.Posterior` without one; or functions of the observation.
    search
        Whether to look for each disk first; otherwise fits begin at the scene's values.
    number, steps, errors
        As for `search`; most steps of each fit; whether to estimate standard deviations.
    correlated
        Whether to measure the correlation of pixels in the residuals and to fit again, without
        which most errors are too small. Only for one image's Gaussian noise.
    store, configuration, keep_fits, engine, shard, retry
        As for :func:`pytreefit.survey.run`: ``configuration`` says how images are read. And whether
        a store keeps each `Fit` and `Laplace` (``Store.result(name)["fit"]``, ``["laplace"]``).
    progress
        True writes lines to standard error, False nothing; a function gets each line.

    Raises
    ------
    ValueError, TypeError
        Without a scene and a search, and for arguments of another kind.
    """
    check_kind("observations", observations, Mapping)
    if not callable(scene):
        check_kind("scene", scene, Scene | None)
    if not search and scene is None:
        raise ValueError("scene is None, and search is False: give one of them, where to start.")
    priors = priors if callable(priors) else as_mapping("priors", priors)
    number, steps = as_whole_number("number", number, 1), as_whole_number("steps", steps, 1)
    work = _Work(scene, priors, search, number, steps, errors, correlated, keep_fits)
    place = {"store": store, "engine": engine, "shard": shard, "retry": retry}
    own = as_mapping("configuration", configuration)
    own |= {"rows": "grater.fit_many", **work.configuration()}
    return run(observations, work, configuration=own, progress=progress, **place)


@dataclasses.dataclass(frozen=True)
class _Work:
    """What is done for each disk."""

    scene: Any
    priors: Any
    search: bool
    number: int
    steps: int
    errors: bool
    correlated: bool
    keep: bool

    def configuration(self) -> dict[str, str]:
        """What decides the rows, in plain values."""
        fields = (field.name for field in dataclasses.fields(self))
        return {name: describe(getattr(self, name)) for name in fields if name != "keep"}

    def __call__(self, name: str, observation: Any, key) -> Any:
        del name, key
        observation = observation if not callable(observation) else observation()
        check_kind("observation", observation, AbstractObservation)
        scene = self.scene(observation) if callable(self.scene) else self.scene
        priors = dict(self.priors(observation) if callable(self.priors) else self.priors)
        found = None
        if self.search:
            found, scene, observation, priors = self.found(observation, scene, priors)
        posterior = Posterior(scene, observation.log_likelihood, priors)
        best = _fitted(posterior, self.steps)
        if self.correlated and _independent(best.model, observation):
            noise = CorrelatedNoise.of_residuals(best.model, observation)
            posterior = Posterior(
                best.model.set({"noise": noise}), observation.log_likelihood, priors
            )
            best = _fitted(posterior, self.steps, start=best)
        width, problem = None, ""
        if self.errors:
            try:
                width = laplace(posterior, best, method="fisher", held=best.at_edge)
            except ValueError as error:
                problem = f" No errors: {error}"
        row = _row(observation, best, width, found, problem)
        return (row, {"fit": best, "laplace": width}) if self.keep else row

    def found(self, observation: Observation, scene: Scene | None, own) -> Any:
        """What the search finds: also the scene, the observation in its view, and the priors."""
        found = find_disk(observation, scene, priors=own, number=self.number, progress=False)
        best = found.best.model
        seen, start = _one_view(observation, scene or default_scene(observation))
        limits = _limits(start, own, RADIUS) if RADIUS in own else (0.0, math.inf)
        stated = _as_stated(best, start, seen)
        priors = _priors(stated, levels_of(seen, start, limits), own)
        return found, best, seen, priors


def _fitted(posterior: Posterior, steps: int, start: Fit | None = None) -> Fit:
    best = fit(posterior, start=start, steps=steps, progress=False)
    if best.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    return best


def _independent(scene: Scene, observation: AbstractObservation) -> bool:
    """Whether the noise is that of one image in one view, Gaussian, of independent pixels."""
    if isinstance(observation, Observation):
        with contextlib.suppress(ValueError):  # several views or channels have no such path
            return isinstance(scene.get("noise"), AbstractGaussianNoise)
    return False


def _measured(scene: Scene) -> dict[str, Any]:
    """Columns of the noise's correlation; none of independent pixels and of several views."""
    from astropy import units

    with contextlib.suppress(ValueError):  # no such paths
        found = {}
        for path in ("noise.length", "noise.white"):
            node = lookup_parameter(scene, path)
            found[path] = float(node.value) * units.Unit(node.info.unit or "")
        return found
    return {}


def _row(
    observation: Any, best: Fit, width: Laplace | None, found: DiskSearch | None, problem: str
) -> dict[str, Any]:
    """The row of a disk."""
    from astropy import units

    free, row = len(best.u), {}
    spread = width.std if width is not None else {}
    for path in best.names:
        unit = units.Unit(lookup_parameter(best.model, path).info.unit or "")
        value, error = np.asarray(best.values[path]), spread.get(path)
        error = np.full(value.shape, np.nan) if error is None or path in best.at_edge else error
        for index in np.ndindex(value.shape):
            column = path + (f"[{', '.join(map(str, index))}]" if index else "")
            row[column] = value[index] * unit
            # of one number of several at the edge, which is held, it is 0
            row[f"{column}_error"] = (np.asarray(error)[index] or np.nan) * unit
    row |= _measured(best.model)
    row["log_density"] = float(best.log_density)
    with contextlib.suppress(AttributeError):  # of several data sets
        row["reduced_chi_square"] = float(observation.reduced_chi_square(best.model, free))
    row |= {"status": best.status.name.lower(), "at_edge": " ".join(best.at_edge)}
    if found is not None:
        row |= {"gain": found.gain, "agreeing": found.agreeing, "starts": len(found.rings)}
    # the fit went on where the search ended
    ends = ("not converged", "radius at the edge of its prior")
    flags = [flag for flag in (found.flags if found else ()) if flag not in ends]
    if edges := [path for path in best.at_edge if path not in best.at_bound]:
        flags.append(f"at the edge of the prior: {', '.join(edges)}")
    if best.status not in (Status.CONVERGED, Status.AT_EDGE):
        flags.append("not converged")
    return row | {"flags": "; ".join(flags), "message": best.message + problem}
