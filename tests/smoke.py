"""What users do first. ``make smoke`` runs it with the lowest and with the newest dependencies.

It ends with an error if a number is not finite, or if what is loaded is not what was saved.
"""

import pathlib
import platform
import tempfile
from importlib.metadata import version

import jax
import matplotlib
import numpy as np

import grater
import spotgp
from pytreefit import Posterior, fit, load, sample, save

USED = ("jax", "equinox", "optax", "blackjax", "numpyro", "numpy", "scipy", "astropy", "tinygp")


def check(what, tree):
    numbers = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    if not numbers or not all(np.isfinite(n).all() for n in numbers):
        raise SystemExit(f"{what}: not finite: {numbers}")
    print(f"{what}: finite")


def check_saved(what, result, numbers):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "result.npz"
        save(path, result)
        loaded = load(path)
    jax.tree.map(np.testing.assert_array_equal, numbers(result), numbers(loaded))
    print(f"{what}: saved and loaded")


def disk():
    truth = grater.Disk(
        semi_major_axis=40.0,
        inclination=60.0,
        position_angle=30.0,
        alpha_in=5.0,
        alpha_out=-5.0,
        scale_height=3.0,
        flux=300.0,
        phase=grater.HenyeyGreenstein(0.3),
    )
    grid = grater.Grid(shape=(16, 16), pixel_scale=0.1, distance=70.0)
    scene = grater.Scene(truth, grid=grid, psf=grater.GaussianPSF(fwhm=2.0))
    data = grater.Observation.simulate(scene, error=0.02, key=jax.random.key(1))

    def image(inclination):
        return scene.set({"disk.inclination": inclination}).image()

    check("image and derivative", jax.jvp(image, (60.0,), (1.0,)))
    start = scene.set({"disk.flux": 250.0, "disk.inclination": 57.0})
    priors = {"disk.flux": (100.0, 1000.0), "disk.inclination": (40.0, 80.0)}
    return Posterior(start, data.log_likelihood, priors)


def star():
    time = np.arange(0.0, 30.0, 0.5)
    noise = 1e-3 * np.random.default_rng(0).normal(size=time.size)
    data = spotgp.TimeSeriesData(time, 1.0 + 0.01 * np.sin(1.3 * time) + noise, 1e-3)
    check("rotation period", data.rotation_period().period)
    model = spotgp.SpotEvolutionModel(
        spotgp.TrapezoidSymmetricEnvelope(lspot=6.0, tau_spot=2.0),
        spotgp.VisibilityFunction(peq=5.0, kappa=0.1, inc=1.0),
        sigma_k=0.01,
    )
    return spotgp.GPSolver.from_data(data, model, priors={"peq": (3.0, 8.0)}).posterior


def main():
    jax.config.update("jax_enable_x64", True)
    matplotlib.use("Agg")
    where = pathlib.Path(grater.__file__)
    if "site-packages" not in where.parts:
        raise SystemExit(f"The package is {where.parent}, not the one that was installed.")
    print(
        f"Python {platform.python_version()},",
        ", ".join(f"{name} {version(name)}" for name in USED),
    )
    for what, posterior in (("disk", disk()), ("star", star())):
        where = posterior.unconstrain(posterior.initial)
        check(f"{what}, density and gradient", jax.value_and_grad(posterior.log_density)(where))
        best = fit(posterior, steps=5, progress=False)
        check(f"{what}, fit", (best.log_density, best.values))
        check_saved(f"{what}, fit", best, lambda found: found.values)
        if what == "disk":
            draws = sample(
                posterior,
                jax.random.key(0),
                start=best,
                chains=1,
                warmup=50,
                draws=20,
                progress=False,
            )
            check(f"{what}, draws", draws.draws)
            check_saved(f"{what}, draws", draws, lambda found: found.draws)
            draws.to_arviz(), draws.corner(), draws.trace()


if __name__ == "__main__":
    main()
