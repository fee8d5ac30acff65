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
    inside,
    of_file,
    storing,
    whole_number,
    write_table,
)

from ..survey import fit_many
from .fit import PRIORS, READING, check_priors, likely_period, limits, model, own_priors, read

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


def jitter(own, fixed, data):
    """White noise of about the stated errors, to start from."""
    start = float(fixed.get("jitter", np.median(data.flux_err)))
    prior = own.get("jitter")
    return start if prior is None else inside(start, *limits(prior))


def run(settings) -> None:
    """Fit the stars that have no row yet."""
    check_priors(settings)
    own, fixed = own_priors(settings)
    for name, prior in own.items():
        if prior is None and name not in fixed:
            raise ValueError(
                f"{name} is to be fixed at no value, and stars have no start in common: give "
                f"--prior {name}=fixed:VALUE"
            )
    star = model()
    star = star.set({star.paths[k]: value for k, value in fixed.items() if k in star.paths})
    stars = {name: of_file(read, path, settings) for name, path in by_name(settings.files).items()}
    work = functools.partial(
        fit_many,
        stars,
        star,
        priors=functools.partial(priors, own, fixed),
        jitter=functools.partial(jitter, own, fixed),
        points=settings.points,
        starts=settings.starts,
        configuration=deciding(settings, OPTIONS),
        **storing(settings),
    )
    found, lost = all_of(work)
    write_table(settings, found.table() if lost else found.to_astropy())
    print(found)
    left = set(found.left)
    failed = found.failed if lost else [found[k].name for k in found.failed if k not in left]
    finish(settings, failed, found.left, lost)


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
