"""Rotation of a spotted star, from a Kepler or TESS light curve.

    python examples/fit_rotation.py kplr001430163-2010355172524_llc.fits.gz
    python examples/fit_rotation.py kepler63.npz --days 200

Of a long light curve some hundred points are taken. The periods that all points suggest are the
starts of fits with the spots' Gaussian process, whose modes are then sampled: by importance
sampling, and by NUTS where that fails. Spots are taken to live for a rotation at least and to grow
in a tenth of one or more: shorter ones would fit as well, whatever the period. At last a check says
in a sentence what of the data the model does not predict. A .npz file holds arrays ``time`` (days),
``flux`` and ``flux_err``.
"""

import argparse
import time
import warnings
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402
import numpyro.distributions as dist  # noqa: E402

import spotgp  # noqa: E402
from pytreefit import Table, cache_programs, sample  # noqa: E402

parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
parser.add_argument("path", type=Path)
parser.add_argument("--flux", help="column of the flux, by default the producer's corrected one")
parser.add_argument("--quality", default="default", help="default, hard or none")
parser.add_argument("--days", type=float, help="use the first days only")
parser.add_argument("--points", type=int, default=300, help="number of points to fit, at most")
parser.add_argument("--starts", type=int, default=8, help="number of fits")
parser.add_argument("--method", default="auto", help="of sampling: auto, mixture or nuts")
parser.add_argument("--chains", type=int, default=4)
parser.add_argument("--warmup", type=int, default=500, help="transitions of NUTS")
parser.add_argument("--draws", type=int, default=500)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output")
args = parser.parse_args()
cache_programs()  # the next run need not compile again

# the light curve
if args.path.suffix == ".npz":
    with np.load(args.path) as arrays:
        data = spotgp.TimeSeriesData(
            arrays["time"], arrays["flux"], arrays["flux_err"], name=args.path.stem
        )
else:
    data = spotgp.TimeSeriesData.from_fits(args.path, args.flux, args.quality)
if args.days:
    data = data.first(args.days)
data = data.normalize().sigma_clip(5.0)
print(data.history[-1])
fitted = data.thin(args.points)
print(fitted)

# the period by other methods
rotation = data.rotation_period()
print(rotation)
lomb_scargle = data.lomb_scargle()
acf = data.autocorrelation()

# the model: its values are the start of the search only
model = spotgp.first_guess(
    data,
    spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=4.0),
        visibility=spotgp.VisibilityFunction(peq=10.0, kappa=0.1, inc=1.0),
        sigma_k=0.01,
    ),
    rotation.period,
)
period = model.param_dict["peq"]
priors = {
    "peq": (0.3 * period, 3.0 * period),
    "kappa": (0.0, 0.7),
    "inc": spotgp.IsotropicInclination(),
    "lspot": dist.LogUniform(period, max(3.0 * data.span, 10.0 * period)),
    "tau_spot": dist.LogUniform(0.1 * period, data.span),
}
gp = spotgp.GPSolver.from_data(
    fitted, model, jitter=float(np.median(fitted.flux_err)), priors=priors
)
print(gp)

began = time.perf_counter()
starts = spotgp.suggest_starts(gp, rotation)
found = spotgp.search(gp, starts, number=args.starts, progress=False)
print(f"{found.agreeing} of {len(found.fits)} starts end at the best log posterior")
print(f"to doubt: {'; '.join(found.flags) or 'nothing'}")
print(found.table())
best = gp.at(found.best.values)
print(
    f"best log likelihood {float(best.log_likelihood()):.2f}, "
    f"{time.perf_counter() - began:.0f} s for the search"
)

# the posterior
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    samples = sample(
        gp.posterior,
        jax.random.key(args.seed),
        method=args.method,
        start=list(found.fits),
        chains=args.chains,
        warmup=args.warmup,
        draws=args.draws,
        target_acceptance=0.95,
        max_depth=5,
        jumps=8,
    )
for warning in caught:
    print(f"warning: {warning.message}")
print(samples)
if samples.importance is not None:
    print(samples.importance.modes())

# is the model right?
checked = spotgp.check(gp, samples)
print(checked)

models = samples.models().model
effective = np.asarray(jax.jit(jax.vmap(lambda star: star.effective_period()))(models))
equator = np.ravel(samples.draws["model.visibility.peq"])


def row(name, value, error):
    """A line of the table of periods."""
    return name, f"{value:.3f}", f"{error:.3f}"


print(
    Table(
        ("period", "days", "+-"),
        [
            row("spots, effective", np.median(effective), np.std(effective)),
            row("spots, equator", np.median(equator), np.std(equator)),
            row("Lomb-Scargle", lomb_scargle.period, lomb_scargle.uncertainty),
            row("autocorrelation", acf.period, acf.uncertainty),
        ],
    )
)

folder = args.output / (data.name or args.path.stem).replace(" ", "_").lower()
folder.mkdir(parents=True, exist_ok=True)
spotgp.plot_check(checked).savefig(folder / "check.png", dpi=120)
samples.save(folder / "samples.npz")
kernel = best.process.spot_kernel()
spotgp.plot_light_curve(best).savefig(folder / "light_curve.png", dpi=120)
spotgp.plot_kernel(kernel, data=fitted, max_lag=min(10 * period, 0.5 * data.span)).savefig(
    folder / "kernel.png", dpi=120
)
spotgp.plot_psd(kernel, data=fitted).savefig(folder / "psd.png", dpi=120)
spotgp.plot_periods(
    {
        "effective": effective,
        "equator": equator,
        "Lomb-Scargle": (lomb_scargle.period, lomb_scargle.uncertainty),
        "autocorrelation": (acf.period, acf.uncertainty),
    }
).savefig(folder / "periods.png", dpi=120)
samples.corner().savefig(folder / "corner.png", dpi=80)
print(f"figures and draws in {folder}")
