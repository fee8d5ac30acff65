"""``spotgp survey``: the rotation of many stars, a row for each in a store."""

import functools

import numpy as np
import numpyro.distributions as dist

from pytreefit.extend import (
    STORING,
    Command,
    Option,
    all_of,
    by_name,
    deciding,
    finish,
    of_file,
    storing,
    whole_number,
)

from ..survey import fit_many
from .fit import PRIORS, READING, check_priors, likely_period, model, own_priors, read

OPTIONS = (
    *READING,
    Option("points", whole_number(10), 200, "points of each star to fit, at most"),
    Option("starts", whole_number(1), 4, "number of fits of each star"),
    *STORING,
)


def priors(own, fixed, data, rotation):
    """Spots live for a rotation at least and grow in a tenth of one or more, but for one's own."""
    period, factor = likely_period(rotation, own, fixed), 1.5 if rotation.good else 3.0
    return {
        "peq": (period / factor, factor * period),
        "kappa": (0.0, 0.7),
        "lspot": dist.LogUniform(period, max(3.0 * data.span, 10.0 * period)),
        "tau_spot": dist.LogUniform(0.1 * period, data.span),
    } | own


def jitter(fixed, data):
    """White noise of about the stated errors, to start from."""
    return float(fixed.get("jitter", np.median(data.flux_err)))


def run(settings) -> None:
    """Fit the stars that have no row yet."""
    check_priors(settings)
    own, fixed = own_priors(settings)
    star = model()
    star = star.set({star.paths[k]: value for k, value in fixed.items() if k in star.paths})
    stars = {name: of_file(read, path, settings) for name, path in by_name(settings.files).items()}
    work = functools.partial(
        fit_many,
        stars,
        star,
        priors=functools.partial(priors, own, fixed),
        jitter=functools.partial(jitter, fixed),
        points=settings.points,
        starts=settings.starts,
        configuration=deciding(settings, OPTIONS),
        **storing(settings),
    )
    found, lost = all_of(work)
    print(found)
    if lost:
        finish(settings, found.table(), found.failed, found.left, lost)
    left = set(found.left)
    own = [found[k].name for k in found.failed if k not in left]
    finish(settings, found.to_astropy(), own, found.left)


SURVEY = Command(
    "survey",
    """Rotation of many stars, from their light curves, a row for each in a folder.

A run that was killed or stopped goes on where it was. Stars that fail are rows that say why.
Several processes share the work by --shard, also as tasks of a SLURM array.""",
    run,
    OPTIONS,
    files="the files of light curves",
    many=True,
    priors=f"{PRIORS}, the same for all stars",
)
