"""Whatever `set` accepts is as if built anew: nothing that was worked out before is left behind."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grater
from factories import make_disk, make_scene
from pytreefit.extend import walk

STAMP = np.random.default_rng(2).uniform(size=(5, 5))
STAMP[2, 2] = 2.1
MAP = np.linspace(0.5, 1.0, 256).reshape(16, 16)
ROUGH = {"accuracy": 1e-2, "nodes_on": "surfaces"}
POLARIZED = grater.Polarized(grater.TabulatedPhase([0.0, 90.0, 180.0], [3.0, 1.0, 0.7]), 0.4)
SCENES = {
    "image": make_scene(
        psf=grater.ImagePSF(STAMP), transmission=MAP, throughput=MAP, oversample=2, **ROUGH
    ),
    "field": make_scene(
        make_disk(phase=POLARIZED),
        psf=grater.FieldPSF(
            np.stack([STAMP, STAMP.T]), np.linspace(0, 1, 2048).reshape(2, 32, 32), oversample=2
        ),
        curve="polarized",
        stokes="U_phi",
        oversample=2,
        **ROUGH,
    ),
    "gaussian": make_scene(
        make_disk(radial=grater.GaussianRing(0.2), alpha_in=None, alpha_out=None),
        psf=grater.GaussianPSF(2.0, size=15),
        noise=grater.PoissonNoise(1e3, 0.01),
        **ROUGH,
    ),
    "moffat": make_scene(
        make_disk(phase=grater.TwoHenyeyGreenstein(0.5, -0.2, 0.7)),
        psf=grater.MoffatPSF(1.5, 2.5, size=15),
        noise=grater.StudentTNoise(1.0),
        **ROUGH,
    ),
    "spline": make_scene(make_disk(phase=grater.SplinePhase([-0.5, 0.5], [1.0, 2.0])), **ROUGH),
    "polarized": make_scene(make_disk(phase=POLARIZED), curve="total", **ROUGH),
    "mixed": make_scene(
        make_disk(phase=grater.MixedHenyeyGreenstein([0.4, -0.2], [0.7, 0.3])), **ROUGH
    ),
}
# what is no number, and what makes no sense by itself, is changed to this
OTHERS = {
    "grid": grater.Grid((20, 18), 0.1, 60.0),
    "grid.shape": (18, 20),
    "psf": grater.GaussianPSF(3.0),
    "psf.image": np.ones((7, 7)),
    "psf.normalization": "peak",
    "psf.center": (1.7, 2.2),
    "psf.oversample": 2,
    "psf.images": np.ones((2, 3, 3)),
    "psf.weights": np.linspace(1, 0, 2048).reshape(2, 32, 32),
    "psf.shape": (16, 16),
    "psf.error": 0.2,
    "psf.size": 21,
    "transmission": MAP[::-1],
    "throughput": None,
    "noise": grater.GaussianNoise(2.0),
    "curve": None,
    "stokes": "Q_phi",
    "grid.parity": -1,
    "grid.distortion": np.array([[1.1, 0.0], [0.1, 0.9]]),
    "margin": 1,
    "accuracy": 1e-3,
    "nodes_on": "segments",
    "inner_radius": 2.0,
    "oversample": 4,
    "disk": make_disk(inclination=40.0),
    "disk.radial": grater.TwoPowerLaw(3.0, -3.0),
    "disk.vertical": grater.VerticalExponential(2.0),
    "disk.azimuthal": grater.Clump(0.5, 3.0, 10.0),
    "disk.phase": grater.Isotropic(),
    "disk.phase.phase": grater.HenyeyGreenstein(0.2),
    "disk.phase.polarization": grater.SplinePolarization([0.0], [0.5]),
    "disk.phase_normalization": "right_angle",
    "disk.density_normalization": "column",
}


def rebuilt(node):
    """The same through the constructors, from the fields alone."""
    if isinstance(node, eqx.Module):
        values = {f.name: rebuilt(getattr(node, f.name)) for f in dataclasses.fields(node)}
        return type(node)(**values)
    return np.asarray(node) if eqx.is_array(node) else node


def changes(scene, every):
    """Another value for each path: for every one, or for those of numbers and of the PSF."""
    for node in walk(scene):
        if node.path in OTHERS:
            if not every and not node.path.startswith("psf"):
                continue
            other = OTHERS[node.path]
            yield node.path, other
        elif node.info is not None:
            yield node.path, node.value * 0.98
        elif not node.path[-1].isdigit():  # a part of a tuple
            assert node.value is None, f"{node.path} is not changed by this test"


def kind(scene):
    """What a program is compiled for."""
    return jax.tree.structure(scene), [jnp.shape(leaf) for leaf in jax.tree.leaves(scene)]


@pytest.mark.parametrize("name", SCENES)
def test_set_is_as_built_anew(name):
    scene = SCENES[name]
    for path, value in changes(scene, every=name == "image"):
        if path in ("grid", "grid.shape"):  # maps have the grid's shape
            scene_ = scene.set({"transmission": None, "throughput": None})
        else:
            scene_ = scene
        changed = scene_.set({path: value})
        fresh = rebuilt(changed)
        assert eqx.tree_equal(changed, fresh), path
        if kind(changed) != kind(scene):
            continue  # equal trees have equal images, by one program for each kind
        np.testing.assert_array_equal(changed.image(), fresh.image(), err_msg=path)
        data = grater.Observation(jnp.ones(changed.grid.shape), 0.1, pixel_scale=0.1, distance=60.0)
        values = [float(data.log_likelihood(of)) for of in (changed, fresh)]
        assert values[0] == values[1], path


def test_observations_too():
    scene = make_scene(**ROUGH)
    image = np.random.default_rng(3).normal(size=(16, 16))
    image[3, 4] = np.nan
    light = grater.Starlight(image[None] ** 2 - 0.3 * image.T, width=2.0, slope=True)
    light = light.set({"references": np.nan_to_num(light.references)})
    data = grater.Observation(image, 0.1, pixel_scale=0.1, distance=60.0, starlight=light)
    for path, value in {
        "starlight": None,
        "starlight.references": np.nan_to_num(image[None] ** 3),
        "starlight.width": None,
        "starlight.constant": True,
        "starlight.slope": False,
        "image": np.where(np.eye(16) > 0, np.nan, 1.0),
        "error": np.full((16, 16), 0.2),
        "mask": np.tri(16) > 0,
        "center": (3.0, 4.0),
    }.items():
        changed = data.set({path: value})
        assert repr(changed) == repr(rebuilt(changed))
        assert float(changed.log_likelihood(scene)) == float(rebuilt(changed).log_likelihood(scene))
        assert float(changed.log_likelihood(scene)) != float(data.log_likelihood(scene)) or (
            path == "center"
        )


def test_a_larger_grid_with_a_measured_psf():
    scene = SCENES["image"].set({"transmission": None, "throughput": None})
    larger = grater.Grid((21, 25), 0.1, 60.0)
    fresh = make_scene(grid=larger, psf=grater.ImagePSF(STAMP), oversample=2, **ROUGH)
    np.testing.assert_array_equal(scene.set({"grid": larger}).image(), fresh.image())
