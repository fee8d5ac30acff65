"""Rotation of many spotted stars, from Kepler or TESS light curves.

    python examples/fit_many.py lightcurves/*.fits.gz --output rotation.ecsv

Every file is a star. Of a long light curve some hundred points are fitted; all stars of a kind
share one compiled program, and a star that fails is a row that says why. The table can be read
again with ``astropy.table.QTable.read``. A .npz file holds arrays ``time`` (days), ``flux`` and
``flux_err``.

With ``--store FOLDER`` every star is on the disk as soon as it is fitted: kill the run, start it
again, and it goes on. ``--shard 0/8`` to ``--shard 7/8`` share the work, also on several machines;
``--shard slurm`` is the task of a job array. The exit code is 0 if every star has a fit.
"""

import argparse
import functools
import sys
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402
import numpyro.distributions as dist  # noqa: E402

import spotgp  # noqa: E402
from pytreefit import cache_programs  # noqa: E402

parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
parser.add_argument("paths", type=Path, nargs="+")
parser.add_argument("--flux", help="column of the flux, by default the producer's corrected one")
parser.add_argument("--quality", default="default", help="default, hard or none")
parser.add_argument("--days", type=float, help="use the first days only")
parser.add_argument("--points", type=int, default=200, help="points per star to fit, at most")
parser.add_argument("--starts", type=int, default=4, help="number of fits per star")
parser.add_argument("--store", type=Path, help="folder of rows, to go on with after a kill")
parser.add_argument("--shard", help="part of the stars, such as 0/8 or slurm")
parser.add_argument("--retry", action="store_true", help="try again what failed before")
parser.add_argument("--output", type=Path, help="file for the table, such as rotation.ecsv")
args = parser.parse_args()
stars = {path.name.partition(".")[0]: path for path in args.paths}
if len(stars) < len(args.paths):
    parser.error("two files have the same name: stars are known by the names of their files")
cache_programs()  # the next run need not compile again


def read(path):
    """The light curve of a file, cleaned."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            data = spotgp.TimeSeriesData(
                arrays["time"], arrays["flux"], arrays["flux_err"], name=path.stem
            )
    else:
        data = spotgp.TimeSeriesData.from_fits(path, args.flux, args.quality)
    if args.days:
        data = data.first(args.days)
    return data.normalize().sigma_clip(5.0)


def priors(data, rotation):
    """Spots live for a rotation at least and grow in a tenth of one or more."""
    period, factor = rotation.period, 1.5 if rotation.good else 3.0
    return {
        "peq": (period / factor, factor * period),
        "kappa": (0.0, 0.7),
        "lspot": dist.LogUniform(period, max(3.0 * data.span, 10.0 * period)),
        "tau_spot": dist.LogUniform(0.1 * period, data.span),
    }


MODEL = spotgp.SpotEvolutionModel(
    envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=4.0),
    visibility=spotgp.VisibilityFunction(peq=10.0, kappa=0.1, inc=1.0),
    sigma_k=0.01,
)
found = spotgp.fit_many(
    {name: functools.partial(read, path) for name, path in stars.items()},
    MODEL,
    priors=priors,
    jitter=lambda data: float(np.median(data.flux_err)),
    points=args.points,
    starts=args.starts,
    store=args.store,
    configuration={"flux": args.flux, "quality": args.quality, "days": args.days},
    shard=args.shard,
    retry=args.retry,
)
print(found)
for star in found:
    if star.rotation is not None:
        print(f"{star.name}: {star.rotation}")
if args.output:
    found.to_astropy().write(args.output, overwrite=True)
    print(f"table in {args.output}")
if found.failed:
    sys.exit(f"{len(found.failed)} of {len(found)} stars have no fit: run it with --retry")
