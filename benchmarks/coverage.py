"""Do the error bars cover the truth? Simulated data, fitted and sampled one after the other.

    python benchmarks/coverage.py spline --number 25
    python benchmarks/coverage.py polarized --number 25
    python benchmarks/coverage.py stars --number 40 --points 150 --warmup 120 --draws 150

The truth is drawn from the priors, so that 68 % and 95 % of the central 68 % and 95 % intervals
must contain it, up to the scatter of a binomial distribution. The images resemble HR 4796 A: an
inclined narrow ring, noise of unknown scale; every fit starts from the middle of the priors. Light
curves are simulated spot by spot, many small ones, so that they are nearly draws of the Gaussian
process that is fitted. All images share one compilation, and so do all stars.
"""

import argparse
import time
import warnings

import common
import jax
import numpy as np
import numpyro.distributions as dist

import grater
import spotgp
from pytreefit import Posterior, fit, sample

RING = {
    "disk.semi_major_axis": dist.Uniform(70.0, 84.0),
    "disk.inclination": dist.Uniform(65.0, 82.0),
    "disk.position_angle": dist.Uniform(0.0, 50.0),
    "disk.radial.alpha_in": dist.LogUniform(5.0, 25.0),
    "disk.radial.alpha_out": dist.Uniform(-12.0, -4.0),
    "disk.vertical.scale_height": dist.LogUniform(0.8, 6.0),
    "disk.offset_x": dist.Normal(0.0, 2.0),
    "disk.offset_y": dist.Normal(0.0, 2.0),
    "disk.flux": dist.LogUniform(12000.0, 48000.0),
    "noise.scale": dist.LogUniform(0.6, 1.7),
}


def rings(args):
    """The truth of each image by path, its posterior, and its best fit."""
    priors = dict(RING)
    if args.what == "spline":
        phase = grater.SplinePhase.for_inclination(73.0, n=4)
        priors["disk.phase.values"] = dist.LogNormal(0.0, 0.4)
    else:
        phase = grater.Polarized(grater.HenyeyGreenstein(g=0.3))
        priors["disk.phase.phase.g"] = dist.Uniform(0.0, 0.7)
    disk = grater.Disk(
        77.0,
        73.5,
        25.0,
        density_normalization="column",
        alpha_in=11.0,
        alpha_out=-8.0,
        scale_height=2.2,
        flux=24000.0,
        phase=phase,
    )
    grid = grater.Grid((64, 64), pixel_scale=0.038, distance=72.0)
    middle = grater.Scene(disk, grid=grid, psf=grater.GaussianPSF(fwhm=3.0))
    error = 0.03 * float(np.max(middle.image()))
    for number in range(args.number):
        truth_key, noise_key = jax.random.split(jax.random.key(number))
        prior = Posterior(middle, lambda scene: scene.noise.scale, priors)
        truth = prior.sample_prior(truth_key)
        data = grater.Observation.simulate(prior.model_at(truth), error=error, key=noise_key)
        posterior = Posterior(middle, data.log_likelihood, priors)
        yield truth, posterior, fit(posterior, progress=False)


def stars(args):
    """The same of each light curve."""
    priors = {
        "peq": dist.LogUniform(3.0, 8.0),
        "kappa": dist.Uniform(0.0, 0.3),
        "inc": spotgp.IsotropicInclination(0.3, np.pi / 2),
        "lspot": dist.LogUniform(4.0, 20.0),
        "tau_spot": dist.LogUniform(2.0, 8.0),
        "sigma_k": dist.LogUniform(1e-3, 1e-2),
    }
    middle = spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=9.0, tau_spot=4.0),
        visibility=spotgp.VisibilityFunction(peq=5.0, kappa=0.1, inc=1.0),
        sigma_k=3e-3,
    )
    for number in range(args.number):
        rng = np.random.default_rng(number)
        *keys, spot_key = jax.random.split(jax.random.key(number), len(priors) + 1)
        drawn = zip(priors.items(), keys, strict=True)
        truth = {middle.paths[name]: float(prior.sample(key)) for (name, prior), key in drawn}
        t = np.sort(rng.uniform(0.0, 100.0, args.points))
        spots = spotgp.LightcurveModel.from_spot_model(
            spot_model=middle.set(truth), nspot_rate=5.0, fspot=0.0, t=t, key=spot_key
        )
        error = 0.05 * float(np.std(spots.flux))
        flux = np.asarray(spots.flux) + rng.normal(0.0, error, t.size)
        gp = spotgp.GPSolver(t, flux, error, middle, priors=priors, solver="dense")
        found = spotgp.search(gp, number=6, progress=False)
        yield {f"model.{path}": value for path, value in truth.items()}, gp.posterior, found.best


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("what", choices=("spline", "polarized", "stars"))
    parser.add_argument("--number", type=int, default=25)
    parser.add_argument("--points", type=int, default=200, help="of a light curve")
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=150)
    parser.add_argument("--draws", type=int, default=300)
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", args.what == "stars")
    draw = stars if args.what == "stars" else rings
    inside, worst = {}, 0.0
    began = time.perf_counter()
    for number, (truth, posterior, best) in enumerate(draw(args)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # R-hat is told below
            samples = sample(
                posterior,
                jax.random.key(1000 + number),
                start=best,
                chains=args.chains,
                warmup=args.warmup,
                draws=args.draws,
                target_acceptance=0.9,
                progress=False,
            )
        for path, draws in samples.draws.items():
            flat = np.asarray(draws).reshape(-1, *np.shape(truth[path]))
            for level in (68, 95):
                low, high = np.percentile(flat, [50 - level / 2, 50 + level / 2], axis=0)
                hits = (low <= np.asarray(truth[path])) & (np.asarray(truth[path]) <= high)
                inside.setdefault((path, level), []).extend(np.ravel(hits).tolist())
        worst = max(worst, *(float(np.max(value)) for value in samples.rhat.values()))
        print(f"{number + 1}: {best.message} largest R-hat so far {worst:.3f}, ", end="")
        print(f"{samples.divergences} divergences, {time.perf_counter() - began:.0f} s", flush=True)
    rows = [
        {
            "what": path,
            "inside 68 %": float(np.mean(inside[path, 68])),
            "inside 95 %": float(np.mean(inside[path, 95])),
            "of": len(inside[path, 68]),
        }
        for path in dict.fromkeys(path for path, _ in inside)
    ]
    print(*rows, sep="\n")
    common.record(f"coverage_{args.what}", rows, largest_rhat=worst, settings=vars(args))


if __name__ == "__main__":
    main()
