"""``grater survey``: the disks in many images, a row for each in a store."""

import functools
from typing import Any

import numpy as np

from pytreefit import Table
from pytreefit.extend import (
    STORING,
    Command,
    all_of,
    by_name,
    deciding,
    finish,
    lookup_parameter,
    of_file,
    rounded,
    split_fixed,
    storing,
    suited,
    write_table,
)

from ..data.observation import Observation
from ..dust.polarization import Polarized
from ..scene import Scene
from ..starts.search import default_scene
from ..survey import fit_many
from .reading import NOISE, READING, optics_of, read, warn_of_distances

_RING = ("disk.semi_major_axis", "disk.inclination", "disk.position_angle")
OPTIONS = (*READING, NOISE, *STORING)


def seen(optics, data: Observation) -> Scene:
    """A ring of any size, as the telescope sees it; of dust that polarises where that is seen."""
    (disk,) = default_scene(data).disks
    if "stokes" in optics:
        disk = disk.set({"phase": Polarized(disk.phase)})
    return Scene(disk, grid=data.grid, **optics)


def own_priors(settings, optics) -> dict[str, Any]:
    """The priors of the line, made for a ring; ValueError for what no search takes."""
    nothing = Observation(np.ones((5, 5)), 1.0, pixel_scale=1.0, distance=1.0)
    ring, priors = seen(optics, nothing), {}
    for name, given in split_fixed(settings.priors)[0].items():
        if given is None:
            raise ValueError(f"{name} cannot be fixed in a survey: give a narrow prior")
        priors[name] = suited(given, lookup_parameter(ring, name))
    return priors


def _of(row, path: str) -> str:
    """A value with its error, or what it is not known for."""
    value, error = row[path], row[f"{path}_error"]
    if path in row["at_edge"].split():
        return f"{rounded(value, error)} (at its edge)"
    return f"{rounded(value, error)} +- {rounded(error, error)}"


def summary(rows) -> Table:
    """What was found, of rows by name."""
    lines = [
        (name, *(_of(row, path) for path in _RING), row["flags"]) for name, row in rows.items()
    ]
    return Table(("disk", "radius, au", "inclination, deg", "position angle, deg", "flags"), lines)


def run(settings) -> None:
    """Search and fit the disks of the images that have no row yet."""
    optics = optics_of(settings.files, settings)
    warn_of_distances(settings.files, settings)
    images = {name: of_file(read, path, settings) for name, path in by_name(settings.files).items()}
    work = functools.partial(
        fit_many,
        images,
        functools.partial(seen, optics),
        own_priors(settings, optics),
        correlated=settings.noise == "correlated",
        configuration=deciding(settings, OPTIONS, files=("error", "psf")),
        **storing(settings),
    )
    found, lost = all_of(work)
    write_table(settings, found.table())
    print(found)
    print(summary(found.rows))
    finish(settings, found.failed, found.left, lost)


SURVEY = Command(
    "survey",
    """The debris disks in many images, a row for each in a folder.

Each disk is searched for and fitted. Errors are those of noise that is correlated as the residuals
are. A run that was killed or stopped goes on where it was. Images that cannot be read or fitted are
rows that say why. Several processes share the work by --shard, also as tasks of a SLURM array.""",
    run,
    OPTIONS,
    files="the FITS files of images",
    many=True,
    priors='paths such as "disk.inclination", the same for all disks',
)
