"""Fits of sequences whose starlight is learned from the frames themselves."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from pytreefit import Fit, Posterior, fit, laplace
from pytreefit.extend import as_number, as_whole_number, check_kind

from .sequence import FrameSequence


class FramesFit(NamedTuple):
    """What `fit_frames` found.

    Parameters
    ----------
    best
        The last fit.
    posterior
        That of the last components: of this one take `laplace` and `sample`.
    frames
        With these components.
    settled
        Whether the last round moved no parameter by more than the tolerance.
    moves
        By how many of its standard deviations the parameter that moved most did so, after each
        time the components were learned.
    message
        The same in words.
    """

    best: Fit
    posterior: Posterior
    frames: FrameSequence
    settled: bool
    moves: tuple[float, ...]
    message: str


def fit_frames(
    posterior: Posterior, *, rounds: int = 5, tolerance: float = 0.1, **how: Any
) -> FramesFit:
    r"""Fit a scene to frames, and learn their components anew without the best disk, in turns.

    Components that were learned from frames with the disk contain some of it, which a fit then
    misses (self-subtraction). Without the best disk they contain less, and so on, until the fit
    stays where it is:

    .. math:: Z^{(k+1)} = \mathrm{KLIP}(d - m(\theta^{(k)})), \qquad
              \theta^{(k+1)} = \arg\max_\theta p(\theta \mid d, Z^{(k+1)})

    Parameters
    ----------
    posterior
        Its likelihood is that of a `FrameSequence` with components.
    rounds
        How often components are learned at most, at least 1. Two or three are enough where all
        frames share components; with a movement (`KLIP`) each round mends but a part.
    tolerance
        The fit has settled where no parameter moves by more of its standard deviation.
    **how
        Further arguments of `pytreefit.fit`, such as ``progress``.

    Raises
    ------
    ValueError, TypeError
        Where the posterior is of no such frames, and as `pytreefit.fit`.
    """
    rounds = as_whole_number("rounds", rounds, 1)
    tolerance = as_number("tolerance", tolerance)
    check_kind("posterior", posterior, Posterior)
    frames = getattr(posterior.log_likelihood, "__self__", None)
    if not isinstance(frames, FrameSequence) or frames.components is None:
        raise ValueError(
            "fit_frames needs a Posterior whose log_likelihood is that of a FrameSequence with "
            "components: frames.learn(KLIP(...)).log_likelihood."
        )
    best, moves = fit(posterior, **how), []
    for _ in range(rounds):
        frames = frames.relearn(best.model)
        posterior = _with_data(posterior, frames)
        last, best = best, fit(posterior, **{**how, "start": best})
        moves.append(_move(posterior, last, best))
        if moves[-1] <= tolerance:
            break
    settled = moves[-1] <= tolerance
    word = "Settled" if settled else "Not settled"
    message = (
        f"{word} after components were learned {len(moves)} times: the last time the fit moved by "
        f"{moves[-1]:.2g} of a standard deviation. {best.message}"
    )
    return FramesFit(best, posterior, frames, settled, tuple(moves), message)


def _with_data(posterior: Posterior, data) -> Posterior:
    """The same posterior of other data of the same kind; nothing is compiled for it."""
    names = ("log_likelihood", "residuals", "log_normalization")
    functions = tuple(
        None if getattr(posterior, name) is None else getattr(data, name) for name in names
    )
    return eqx.tree_at(
        lambda p: tuple(getattr(p, name) for name in names),
        posterior,
        functions,
        is_leaf=lambda leaf: leaf is None,
    )


def _move(posterior, last, best) -> float:
    """The largest change of a value in its standard deviations; those at an edge do not count."""
    std = deviations(posterior, best)
    changes = jax.tree.map(lambda a, b, s: np.abs(a - b) / s, last.values, best.values, std)
    found = np.concatenate([np.ravel(change) for change in changes.values()])
    return float(np.nanmax(found)) if np.isfinite(found).any() else np.inf


def deviations(posterior: Posterior, best: Fit) -> dict[str, np.ndarray]:
    """Standard deviations by the Fisher matrix, NaN for values at the edge of their prior."""
    if len(best.at_edge) == posterior.dim:
        return {name: np.full(np.shape(value), np.nan) for name, value in best.values.items()}
    around = laplace(posterior, best, method="fisher", held=best.at_edge)
    return {name: np.where(std > 0, std, np.nan) for name, std in around.std.items()}
