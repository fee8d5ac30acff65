"""The posterior of HR 4796 A's ring, side by side with GRaTeR-JAX's likelihood and emcee.

    python benchmarks/hr4796a.py DATA_FOLDER RIVALS_FOLDER [--minutes 10]

DATA_FOLDER holds hr4796a_H_pol.fits.gz. GRaTeR-JAX and emcee are installed into an environment of
their own in RIVALS_FOLDER, unless they are there already. Both codes see the same 141 x 141 pixels,
noise map and PSF image (a Gaussian, none was published), and 16 parameters are free: radius,
inclination, position angle, both slopes, scale height, the ring's two offsets (in GRaTeR-JAX the
two components of an eccentricity), flux, six values of the phase function and the scale of the
noise. First this package fits and samples; both are timed with everything compiled. Then
GRaTeR-JAX is fitted with SciPy from there, and emcee runs for a fixed time from draws of the
Gaussian approximation about that, so that it has no burn-in to do. In so short a chain emcee's
autocorrelation time is a lower limit; it is measured on a Gaussian instead, of as many
dimensions with as many walkers.
"""

# the rivals live in environments of their own
# pyright: reportMissingImports=false

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time
import warnings
from typing import Any

import common
import numpy as np

FILE = "hr4796a_H_pol.fits.gz"
DISTANCE = 71.9  # pc
CROP, KNOTS, FWHM = 141, 6, 3.8
WALKERS = 34
# the start: 5 au and 5 deg from what the literature has
RADIUS, INCLINATION, POSITION_ANGLE = 83.5, 71.5, 31.1


def psf_image():
    x = np.arange(31) - 15.0
    image = np.exp(-0.5 * (x[:, None] ** 2 + x[None, :] ** 2) * 8.0 * np.log(2.0) / FWHM**2)
    return image / image.sum()


def problem(path, accuracy=1e-4, crop=CROP):
    """The observation, and the posterior from a rough start."""
    import numpyro.distributions as dist

    import grater
    from pytreefit import Posterior

    data = grater.Observation.from_gpi(path, distance=DISTANCE, crop=crop)
    disk = grater.Disk(
        semi_major_axis=RADIUS,
        inclination=INCLINATION,
        position_angle=POSITION_ANGLE,
        alpha_in=10.0,
        alpha_out=-5.0,
        scale_height=0.03 * RADIUS,
        phase=grater.SplinePhase.for_inclination(INCLINATION, n=KNOTS),
        phase_normalization="right_angle",
        density_normalization="column",
    )
    psf = grater.ImagePSF(psf_image())
    scene = grater.Scene(disk, grid=data.grid, psf=psf, accuracy=accuracy)
    scene = data.scaled_to_data(scene)
    flux = float(scene.get("disk.flux"))
    priors = {
        "disk.semi_major_axis": (0.6 * RADIUS, 1.5 * RADIUS),
        "disk.inclination": (INCLINATION - 30.0, 89.5),
        "disk.position_angle": (POSITION_ANGLE - 60.0, POSITION_ANGLE + 60.0),
        "disk.radial.alpha_in": dist.LogUniform(1.0, 100.0),
        "disk.radial.alpha_out": (-40.0, -1.2),
        "disk.vertical.scale_height": (0.002 * RADIUS, 0.05 * RADIUS),
        "disk.offset_x": dist.Normal(0.0, 0.05 * RADIUS),
        "disk.offset_y": dist.Normal(0.0, 0.05 * RADIUS),
        "disk.flux": dist.LogUniform(flux / 100.0, flux * 100.0),
        "disk.phase.values": dist.LogNormal(0.0, 1.5),
        "noise.scale": dist.LogUniform(0.1, 20.0),
    }
    return data, Posterior(scene, data.log_likelihood, priors)


class Clock:
    """Wall and CPU seconds since it was made."""

    def __init__(self):
        self.began = time.perf_counter(), time.process_time()

    def read(self):
        return time.perf_counter() - self.began[0], time.process_time() - self.began[1]


def ours(args):
    """Fit and sample; what was measured, and the best model."""
    import jax

    from pytreefit import fit, sample

    data, posterior = problem(args.data / FILE, args.accuracy)
    result: dict[str, Any] = {"parameters": posterior.dim, "pixels": data.n_used}
    clock = Clock()
    best = fit(posterior)
    result["fit, first call"] = clock.read()
    clock = Clock()
    best = fit(posterior, progress=False)
    result["fit"] = clock.read()
    result["evaluations of the fit"] = best.evaluations
    result["chi-square"] = float(data.chi_square(best.model))
    print(f"{best}\n{result}", flush=True)

    clock = Clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # so few draws are for the compilation
        key = jax.random.key(1)
        sample(posterior, key, start=best, chains=args.chains, warmup=20, draws=4, progress=False)
    result["sampler, first call"] = clock.read()
    clock = Clock()

    def tell(line):
        print(line, file=sys.stderr, flush=True)
        if line.startswith("warm-up"):
            result["warm-up"] = clock.read()

    samples = sample(
        posterior,
        jax.random.key(args.seed),
        start=best,
        chains=args.chains,
        warmup=args.warmup,
        draws=args.draws,
        target_acceptance=args.acceptance,
        progress=tell,
    )
    result["sampling"] = clock.read()
    print(samples, flush=True)
    least = min(float(np.min(value)) for value in samples.ess.values())
    result["R-hat"] = max(float(np.max(value)) for value in samples.rhat.values())
    result["divergences"] = samples.divergences
    result["gradients per draw"] = float(np.mean(samples.leapfrogs))
    result["smallest ESS"] = least
    for index, unit in enumerate(("s", "CPU s")):
        total, warm_up = result["sampling"][index], result["warm-up"][index]
        result[f"ESS per {unit}"] = least / total
        result[f"ESS per {unit} of draws"] = least / (total - warm_up)
    return result, data, best.model


def request(data, model, folder):
    """What the rival needs: arrays, and its parameters where this package's fit ended."""
    disk = {
        name: float(np.asarray(model.get(f"disk.{name}")))
        for name in ("semi_major_axis", "inclination", "position_angle", "offset_x", "offset_y")
    }
    start = {
        "sma": disk["semi_major_axis"],
        "inclination": disk["inclination"],
        "position_angle": disk["position_angle"],
        "alpha_out": float(model.get("disk.radial.alpha_out")),
        "along": disk["offset_x"] / disk["semi_major_axis"],
        "across": disk["offset_y"] / disk["semi_major_axis"],
        "alpha_in": float(model.get("disk.radial.alpha_in")),
        "ksi0": float(model.get("disk.vertical.scale_height")),
        "flux_scaling": 1.0,
        "knot_values": np.asarray(model.get("disk.phase.values"), float)[::-1].tolist(),
        "noise": float(model.get("noise.scale")),
    }
    reach = float(np.max(np.asarray(model.get("disk.phase.knots"))))
    np.savez(
        folder / "request.npz",
        image=np.asarray(data.image),
        error=np.asarray(data.error),
        mask=np.asarray(data.used),
        psf=psf_image(),
    )
    settings = {
        "start": start,
        "reach": reach,
        "distance": float(data.distance),
        "pixel": float(data.pixel_scale),
        "center": np.asarray(data.center, float).tolist(),
    }
    (folder / "request.json").write_text(json.dumps(settings))


class GraterJax:
    """GRaTeR-JAX's likelihood of a vector: plain parameters, then the logarithms of the others.

    Its models have no offset of the ring but an eccentricity, which with the star in the focus
    offsets the ring too: its two components take the place of the offsets.
    """

    PLAIN = ("sma", "inclination", "position_angle", "alpha_out", "ksi0", "along", "across")
    POSITIVE = ("alpha_in", "flux_scaling")

    def __init__(self, folder):
        import jax.numpy as jnp
        from grater_jax.disk_model import SLD_utils as parts
        from grater_jax.disk_model.SLD_ojax import ScatteredLightDisk
        from grater_jax.optimization.optimize_framework import Optimizer

        with np.load(folder / "request.npz") as arrays:
            self.image, self.error, self.mask = (arrays[k] for k in ("image", "error", "mask"))
            psf = jnp.asarray(arrays["psf"])
        given = json.loads((folder / "request.json").read_text())
        self.given, self.start = given, given["start"]
        ny, nx = self.image.shape
        disk = {
            "accuracy": 5e-3, "alpha_in": 5.0, "alpha_out": -5.0, "sma": 50.0, "e": 0.0,
            "ksi0": 3.0, "gamma": 2.0, "beta": 1.0, "rmin": 0.0, "dens_at_r0": 1.0,
            "inclination": 0.0, "position_angle": 0.0, "x_center": given["center"][0],
            "y_center": given["center"][1], "omega": 0.0,
        }  # fmt: skip
        spline = {
            "backscatt_bound": -given["reach"], "forwardscatt_bound": given["reach"],
            "num_knots": KNOTS, "knot_values": jnp.ones(KNOTS),
        }  # fmt: skip
        misc = {
            "distance": given["distance"], "pxInArcsec": given["pixel"], "nx": nx, "ny": ny,
            "halfNbSlices": 25, "flux_scaling": 1.0,
        }  # fmt: skip
        # masked pixels: no model, no data, an error of 1
        self.optimizer = Optimizer(
            ScatteredLightDisk,
            parts.DustEllipticalDistribution2PowerLaws,
            parts.InterpolatedUnivariateSpline_SPF,
            parts.EMP_PSF,
            disk,
            spline,
            dict(parts.EMP_PSF.params),
            misc,
            empirical_psf_image=psf,
            throughput=jnp.asarray(self.mask, float),
        )
        self.keys = [*self.PLAIN[:5], "e", "omega", *self.POSITIVE, "knot_values"]
        self.calls = 0

    def vector(self):
        """The start, its flux scaled to the image."""
        theta = np.array(
            [self.start[k] for k in self.PLAIN]
            + [np.log(self.start[k]) for k in self.POSITIVE]
            + np.log(self.start["knot_values"]).tolist()
            + [np.log(self.start["noise"])]
        )
        model, weight = self.model(theta), 1.0 / self.error**2
        factor = np.sum(model * self.image * weight) / np.sum(model**2 * weight)
        theta[len(self.PLAIN) + self.POSITIVE.index("flux_scaling")] += np.log(factor)
        return theta

    def values(self, theta):
        import jax.numpy as jnp

        along, across = theta[5:7]
        scalars = [
            *theta[:5],
            np.hypot(along, across),
            np.rad2deg(np.arctan2(across, along)),
            *np.exp(theta[7:9]),
        ]
        return [*map(float, scalars), jnp.asarray(np.exp(theta[-1 - KNOTS : -1]))]

    def model(self, theta):
        """Its image, with the parameters set as its own fits set them."""
        self.optimizer._update_params(self.values(theta), self.keys)
        return np.asarray(self.optimizer.get_model(), float)

    def log_prior(self, theta):
        """As in the other fit, but that the flux has no prior here."""
        sma, inclination, position_angle, alpha_out, ksi0 = theta[:5]
        inside = (
            0.6 * RADIUS < sma < 1.5 * RADIUS
            and INCLINATION - 30.0 < inclination < 89.5
            and abs(position_angle - POSITION_ANGLE) < 60.0
            and -40.0 < alpha_out < -1.2
            and 1.0 < np.exp(theta[7]) < 100.0
            and 0.002 * RADIUS < ksi0 < 0.05 * RADIUS
            and 0.1 < np.exp(theta[-1]) < 20.0
        )
        if not inside:
            return -np.inf
        return -0.5 * float(np.sum(self.prior_residuals(theta) ** 2))

    def prior_residuals(self, theta):
        """The ring's offset in units of its prior's width, and the values of the knots."""
        offsets = theta[5:7] * theta[0] / (0.05 * RADIUS)
        return np.concatenate([offsets, theta[-1 - KNOTS : -1] / 1.5])

    def log_probability(self, theta):
        """Log posterior; GRaTeR-JAX's likelihood is a mean over the pixels."""
        import jax.numpy as jnp

        prior = self.log_prior(theta)
        if not np.isfinite(prior):
            return -np.inf
        error = np.where(self.mask, np.exp(theta[-1]) * self.error, 1.0)
        self.calls += 1
        mean = self.optimizer.get_objective_likelihood(
            self.values(theta), self.keys, jnp.asarray(self.image), jnp.asarray(error)
        )
        total = float(mean) * self.image.size
        return prior + total if np.isfinite(total) else -np.inf

    def chi_square(self, theta):
        return float(np.sum(((self.image - self.model(theta)) / self.error)[self.mask] ** 2))


def rival(folder, minutes, seed):
    """Fit with SciPy, then emcee for so many minutes; prints what was measured."""
    import emcee
    import scipy.optimize

    likelihood = GraterJax(folder)
    theta = likelihood.vector()
    result: dict[str, Any] = {"chi-square at this package's fit": likelihood.chi_square(theta)}
    scale = np.exp(theta[-1])

    # differences about as wide as the errors: well above the rounding of single precision
    widths = np.full(theta.size - 1, 0.02)
    widths[: len(likelihood.PLAIN)] = 0.1, 0.05, 0.03, 0.1, 0.05, 0.001, 0.003

    def residuals(shape):
        theta = np.append(shape, np.log(scale))
        parts = ((likelihood.image - likelihood.model(theta)) / likelihood.error)[likelihood.mask]
        return np.append(parts / scale, likelihood.prior_residuals(theta))

    def jacobian(shape):
        here = residuals(shape)
        return np.transpose(
            [(residuals(shape + step) - here) / np.sum(step) for step in np.diag(widths)]
        )

    clock = Clock()
    best = scipy.optimize.least_squares(
        residuals, theta[:-1], jacobian, x_scale=widths, ftol=1e-5, max_nfev=15
    )
    squares = likelihood.chi_square(np.append(best.x, 0.0))
    theta = np.append(best.x, 0.5 * np.log(squares / likelihood.mask.sum()))
    result["fit with SciPy"] = clock.read()
    result["chi-square"] = likelihood.chi_square(theta)
    print(f"GRaTeR-JAX's best: {dict(zip(likelihood.keys, likelihood.values(theta), strict=True))}")
    information = np.zeros((theta.size, theta.size))
    information[:-1, :-1] = best.jac.T @ best.jac
    information[-1, -1] = 2.0 * likelihood.mask.sum()
    random = np.random.default_rng(seed)
    covariance = np.linalg.inv(information)
    top, walkers = likelihood.log_probability(theta), []
    while len(walkers) < WALKERS:  # where its spline is negative, the density is next to zero
        walker = random.multivariate_normal(theta, covariance)
        if likelihood.log_probability(walker) > top - 3.0 * theta.size - 10.0:
            walkers.append(walker)

    sampler = emcee.EnsembleSampler(WALKERS, theta.size, likelihood.log_probability)
    likelihood.calls, clock = 0, Clock()
    for _ in sampler.sample(np.array(walkers), iterations=10**6):
        if clock.read()[0] > 60.0 * minutes:
            break
    wall, cpu = clock.read()
    chain = sampler.get_chain()
    steps = len(chain)
    tau = sampler.get_autocorr_time(tol=0)
    result |= {
        "sampling": [wall, cpu],
        "steps": steps,
        "evaluations": likelihood.calls,
        "evaluations per": [likelihood.calls / wall, likelihood.calls / cpu],
        "acceptance": float(np.mean(sampler.acceptance_fraction)),
        "autocorrelation time of the chain": float(np.max(tau)),
        "best log density": float(np.max(sampler.get_log_prob())),
    }
    # as many dimensions, no data: the move is affine invariant
    gauss = emcee.EnsembleSampler(
        WALKERS, theta.size, lambda x: -0.5 * np.sum(x**2, axis=1), vectorize=True
    )
    gauss.run_mcmc(random.normal(size=(WALKERS, theta.size)), 50_000)
    result["autocorrelation time of a Gaussian"] = float(
        np.mean(emcee.autocorr.integrated_time(gauss.get_chain()))
    )
    for name in ("the chain", "a Gaussian"):
        for unit, seconds in (("s", wall), ("CPU s", cpu)):
            result[f"ESS per {unit}, by {name}"] = (
                steps * WALKERS / result[f"autocorrelation time of {name}"] / seconds
            )
    (folder / "answer.json").write_text(json.dumps(result))


def rows_of(mine, theirs):
    """What the pages show."""

    def seconds(pair):
        return "{:.1f} ({:.1f})".format(*pair)

    def chi(code):
        return f"{code['chi-square']:.0f} ({code['chi-square'] / mine['pixels']:.3f})"

    def rate(unit):
        total, draws = (mine[f"ESS per {unit}{part}"] for part in ("", " of draws"))
        gauss, chain = (theirs[f"ESS per {unit}, by {by}"] for by in ("a Gaussian", "the chain"))
        yield f"{total:.2f} (without warm-up {draws:.2f})"
        yield f"{gauss:.4f} (at most {chain:.3f})"

    rows = [
        ("free parameters", str(mine["parameters"]), str(mine["parameters"])),
        ("best chi-square (per pixel used)", chi(mine), chi(theirs)),
        ("best fit, s (CPU s)", seconds(mine["fit"]), seconds(theirs["fit with SciPy"])),
        ("sampling, s (CPU s)", seconds(mine["sampling"]), seconds(theirs["sampling"])),
        ("effective samples per s", *rate("s")),
        ("effective samples per CPU s", *rate("CPU s")),
    ]
    return [
        dict(zip(("what", "this package", "GRaTeR-JAX and emcee"), r, strict=True)) for r in rows
    ]


def child(arguments, python=sys.executable):
    """Run this file once more; a path set for this package is none of the rival's business."""
    kept = {k: v for k, v in os.environ.items() if python == sys.executable or k != "PYTHONPATH"}
    subprocess.run([python, __file__, *map(str, arguments)], check=True, env=kept)


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("rivals", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=10.0, help="of emcee")
    parser.add_argument("--accuracy", type=float, default=1e-4, help="of this package's images")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--acceptance", type=float, default=0.9, help="that NUTS aims at")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inner", choices=["ours", "rival"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    folder = args.rivals.absolute()
    if args.inner == "ours":
        result, data, model = ours(args)
        request(data, model, folder)
        (folder / "ours.json").write_text(json.dumps(result))
    elif args.inner == "rival":
        rival(folder, args.minutes, args.seed)
    else:
        python = common.environment(folder, "grater-jax-emcee", "grater-jax==0.3.0", "emcee")
        # one process after the other: nothing of one is on the cores of the next
        child([*sys.argv[1:], "--inner", "ours"])
        child([*sys.argv[1:], "--inner", "rival"], python)
        mine, theirs = (json.loads((folder / f).read_text()) for f in ("ours.json", "answer.json"))
        common.record("hr4796a", rows_of(mine, theirs), ours=mine, theirs=theirs)


if __name__ == "__main__":
    main()
