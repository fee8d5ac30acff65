"""How long our own calls take, to compare a commit with the one before it.

    python -m pytest benchmarks/test_speed.py -o addopts= --benchmark-autosave
    python -m pytest benchmarks/test_speed.py -o addopts= --benchmark-compare

In single precision, or in double precision with JAX_ENABLE_X64=1 (light curves: always double).
"""

import disks
import jax
import numpy as np
import pytest
import solvers

import pytreefit

IMAGES = {name: case for name, case in disks.CASES.items() if "bits" not in case}


@pytest.mark.parametrize("name", IMAGES)
def test_disk(benchmark, name):
    benchmark(disks.ours(disks.full({**IMAGES[name]}), "1e-4")[0])


def image_of(scene):
    return scene.image()


def test_a_hundred_images(benchmark):
    scene = disks.ours(disks.full({}), "1e-4")[1].__self__
    some = np.random.default_rng(0)
    values = {
        "disk.inclination": some.uniform(50.0, 70.0, 100),
        "disk.radial.alpha_in": some.uniform(4.0, 8.0, 100),
    }
    scenes = pytreefit.vary(scene, values)
    benchmark(lambda: jax.block_until_ready(pytreefit.map_models(image_of, scenes)))


@pytest.mark.parametrize("what", ["value", "gradient"])
@pytest.mark.parametrize(("solver", "points"), [("exact", 1000), ("local", 1000), ("local", 10000)])
def test_light_curve(benchmark, solver, points, what):
    with jax.enable_x64(True):
        t = solvers.kepler_times(points)
        flux, sigma_k = solvers.simulated(t)
        data = {"time": t, "flux": flux, "sigma_k": sigma_k}
        benchmark(solvers.Spots(solver, data).calls[what])
