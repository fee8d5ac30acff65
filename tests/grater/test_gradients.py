"""Gradients of the likelihood: they are the differences of its values, and always numbers."""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings, strategies as st

import grater

from .conftest import CASES, general_disk, reference_scene

ACCURACY = 1e-8


@eqx.filter_jit
def log_likelihood(observation, scene):
    return observation.log_likelihood(scene)


@eqx.filter_jit
def gradient(observation, scene):
    return eqx.filter_grad(lambda s: observation.log_likelihood(s))(scene)


def noisy(scene, error):
    """Data about half as bright as the scene, without the pixels beside the star."""
    rng = np.random.default_rng(5)
    image = error * rng.normal(3.0, 3.0, scene.grid.shape)
    grid = scene.grid
    data = grater.Observation(image, error, pixel_scale=grid.pixel_scale, distance=grid.distance)
    return data.mask_radius(inner=1.5)


def check_gradient(scene, error, tolerance=1e-5):
    """Compare all components (two of an image) with extrapolated central differences."""
    observation = noisy(scene, error)
    leaves, tree = jax.tree.flatten_with_path(eqx.filter(scene, eqx.is_inexact_array))
    static = eqx.filter(scene, eqx.is_inexact_array, inverse=True)
    values = [np.asarray(leaf) for _, leaf in leaves]

    def at(index, entry, step):
        moved = [value.copy() for value in values]
        moved[index][entry] += step
        changed = tree.unflatten([jnp.asarray(value) for value in moved])
        return float(log_likelihood(observation, eqx.combine(changed, static)))

    rounding = 1e-15 * abs(float(log_likelihood(observation, scene)))
    failed, moving = [], 0
    for index, slope in enumerate(jax.tree.leaves(gradient(observation, scene))):
        shape = values[index].shape
        for entry in np.ndindex(shape) if len(shape) < 2 else [(5, 10), (10, 6)]:
            step = 1e-4 * (abs(values[index][entry]) or 1.0)
            coarse = (at(index, entry, step) - at(index, entry, -step)) / (2 * step)
            fine = (at(index, entry, step / 2) - at(index, entry, -step / 2)) / step
            expected, got = (4 * fine - coarse) / 3, float(slope[entry])
            moving += expected != 0
            limit = tolerance * max(abs(expected), 1e-2) + rounding / step
            if not abs(got - expected) <= limit:
                path = jax.tree_util.keystr(leaves[index][0])
                failed.append(f"{path}{list(entry)}: {got:.9g}, differences {expected:.9g}")
    assert not failed, "\n".join(failed)
    assert moving >= 14


@pytest.mark.parametrize("name", CASES)
def test_reference_cases(reference, name):
    case, truth = reference[name]
    check_gradient(reference_scene(case, ACCURACY, coarser=2), 0.05 * truth.max())


@pytest.mark.parametrize("name", ["i45", "i88_narrow"])
def test_reference_cases_with_a_spline(reference, name):
    case, truth = reference[name]
    scene = reference_scene(case, ACCURACY, spline(), coarser=2)
    check_gradient(scene, 0.05 * truth.max())


def spline(reach=1.0):
    return grater.SplinePhase([-reach, -0.4, 0.3, reach], [0.8, 0.9, 1.3, 2.0])


disk = functools.partial(general_disk, gamma=2.0)

GRID = grater.Grid((32, 32), 0.0566, 72.8)  # of as many pixels as the references


def test_all_fields_of_a_disk_at_general_values():
    check_gradient(grater.Scene(disk(), grid=GRID, accuracy=ACCURACY), 1e-5)


def test_spline_seen_from_the_other_side():
    tilted = disk(inclination=117.0, gamma=1.0, phase=spline())
    check_gradient(grater.Scene(tilted, grid=GRID, accuracy=ACCURACY), 1e-5)


def test_spline_whose_outer_knots_are_in_view():
    """Its slope jumps at the backward one, where a quadrature converges slowly."""
    scene = grater.Scene(disk(phase=spline(reach=0.7)), grid=GRID, accuracy=ACCURACY)
    check_gradient(scene, 1e-5, tolerance=1e-3)


def test_a_table_with_more_numbers_than_get_an_image_each():
    """Then reverse mode takes over: its gradient, and that of all the rest, are the differences."""
    angle = np.linspace(0.0, 180.0, 61)
    phase = grater.TabulatedPhase(angle, 1.0 + np.cos(np.deg2rad(angle)) ** 2)
    disk = grater.Disk(
        40.0, 50.0, 20.0, alpha_in=6.0, alpha_out=-4.0, scale_height=2.0, phase=phase
    )
    scene = grater.Scene(disk, grid=grater.Grid((15, 15), 0.14, 60.0), accuracy=1e-8)

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def total(scene, weight):
        return jnp.sum(weight * scene.image() ** 2)

    weight = jnp.asarray(np.random.default_rng(3).uniform(size=(15, 15)))
    slope = total(scene, weight)[1].disk
    for path, index in [("phase.values", 20), ("phase.values", 33), ("inclination", None)]:
        value = np.asarray(disk.get(path))
        step = 1e-4 if index is not None else 1e-3
        changes = []
        for sign in (1.0, -1.0):
            moved = value.copy()
            moved[... if index is None else index] += sign * step
            changes.append(float(total(scene.set({f"disk.{path}": moved}), weight)[0]))
        expected = (changes[0] - changes[1]) / (2.0 * step)
        got = np.asarray(slope.get(path))[... if index is None else index]
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_everything_else_that_a_scene_may_have():
    ring = disk(
        alpha_in=None,
        alpha_out=None,
        radial=grater.GaussianRing(0.15),
        phase=grater.Polarized(grater.MixedHenyeyGreenstein([0.6, -0.2], [0.7, 0.3]), peak=0.4),
        phase_normalization="right_angle",
    )
    grid = grater.Grid((16, 16), 0.1132, 72.8)
    scene = grater.Scene(
        ring,
        grid=grid,
        psf=grater.MoffatPSF(2.1, 2.5, size=13),
        transmission=grater.radial_map(grid, [2.0, 8.0], [0.1, 1.0]),
        throughput=grater.radial_map(grid, [4.0, 12.0], [0.5, 0.9]),
        noise=grater.StudentTNoise(1.3, 4.0),
        accuracy=ACCURACY,
        nodes_on="surfaces",
    )
    check_gradient(scene.set({"grid.center": (7.8, 8.3)}), 1e-5)


PHASES = {
    "henyey_greenstein": grater.HenyeyGreenstein(0.3),
    "spline": grater.SplinePhase([-0.9, -0.3, 0.2, 0.99], [1.0, 1.0, 1.0, 1.0]),
    "polarized": grater.Polarized(
        grater.TabulatedPhase([0.0, 40.0, 90.0, 150.0], [3.0, 1.0, 0.5, 0.7])
    ),
}
SMALL = (12, 12)
PIXEL = 6.0


@functools.cache
def base(phase, x64):
    """A scene and an observation, in the precision that is switched on."""
    # rebuilt here: the module's own was made in double precision
    parameters = {
        row[0]: np.asarray(PHASES[phase].get(row[0])) for row in PHASES[phase].parameters()
    }
    scene = grater.Scene(
        disk(phase=PHASES[phase].set(parameters)),
        grid=grater.Grid(SMALL, 0.1, PIXEL * 10.0),
        accuracy=1e-2,
    )
    image = np.random.default_rng(1).normal(1e-4, 1e-4, SMALL)
    return scene, grater.Observation(image, 1e-4, pixel_scale=0.1, distance=PIXEL * 10.0)


@eqx.filter_jit
def value_and_gradient(base, flat, paths):
    scene, observation = base
    sizes = [scene.get(path).size for path in paths]
    pieces = jnp.split(flat, np.cumsum(sizes)[:-1])
    values = {p: jnp.reshape(v, scene.get(p).shape) for p, v in zip(paths, pieces, strict=True)}
    value, slopes = eqx.filter_value_and_grad(observation.log_likelihood)(scene.set(values))
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(slopes)]
    return value, jnp.stack(finite), slopes


def check_finite(phase, changes):
    # in one order, for hypothesis shuffles: another one would be compiled anew
    paths = tuple(sorted(changes))
    flat = np.concatenate([np.atleast_1d(changes[path]) for path in paths])
    for x64 in (True, False):
        with jax.enable_x64(x64):
            number = jnp.asarray(flat, float)
            value, finite, slopes = value_and_gradient(base(phase, x64), number, paths)
            assert value.dtype == number.dtype == (jnp.float64 if x64 else jnp.float32)
            assert np.isfinite(value), f"value {value} in {number.dtype}"
            assert np.all(finite), f"in {number.dtype}: {slopes}"


def often(*special, low, high):
    return st.one_of(st.sampled_from(special), st.floats(low, high))


GEOMETRY = {
    "disk.inclination": often(0.0, 90.0, 180.0, 45.0, 1e-7, 89.9999, 90.0001, low=0, high=180),
    "disk.position_angle": often(0.0, 45.0, 90.0, -90.0, 180.0, low=-360, high=360),
    "disk.semi_major_axis": often(40.0, low=5.0, high=100.0),
    "disk.eccentricity": often(0.0, 0.1, low=0, high=0.8),
    "disk.argument_of_pericenter": often(0.0, 90.0, 180.0, low=-360, high=360),
    "disk.offset_x": often(0.0, PIXEL, -2 * PIXEL, low=-15, high=15),
    "disk.offset_y": often(0.0, PIXEL, -2 * PIXEL, low=-15, high=15),
    "disk.radial.alpha_in": often(40.0, 1.0, low=0.3, high=40),
    "disk.radial.alpha_out": often(-2.0, -30.0, low=-40, high=-0.5),
    "disk.vertical.scale_height": often(0.003, 0.15, low=0.003, high=0.15),  # over the radius
    "disk.vertical.gamma": often(1.0, 2.0, low=0.5, high=8),
    "disk.vertical.beta": often(0.0, 1.0, low=0, high=3),
    "grid.center": st.tuples(*[often(6.0, 5.5, low=4, high=8)] * 2),
}
ASYMMETRY = often(0.0, 0.99, -0.99, low=-0.95, high=0.95)
POSITIVE = st.tuples(*[often(1.0, 1e-3, 1e3, low=0.01, high=100)] * 4)
DUST = {
    "henyey_greenstein": {"disk.phase.g": ASYMMETRY},
    "spline": {
        "disk.phase.knots": st.sampled_from(
            [
                (-0.9, -0.3, 0.2, 0.99),
                (-1.0, -0.5, 0.5, 1.0),
                (0.1, 0.2, 0.3, 0.4),
                (-0.4, -0.3, -0.2, -0.1),
                (-0.05, 0.05, 0.6, 0.7),
            ]
        ),
        "disk.phase.values": POSITIVE,
    },
    "polarized": {
        "disk.phase.phase.angle": st.sampled_from(
            [(0.0, 40.0, 90.0, 180.0), (20.0, 40.0, 90.0, 150.0)]
        ),
        "disk.phase.phase.values": st.tuples(
            *[often(0.0, 1.0, 1e3, low=0, high=100)] * 3, st.just(1.0)
        ),
        "disk.phase.peak": often(0.0, 1.0, low=0, high=1),
    },
}


@pytest.mark.parametrize("phase", PHASES)
def test_always_finite(phase):
    @settings(
        max_examples=110, deadline=None, derandomize=True, database=None, phases=[Phase.generate]
    )
    @given(st.fixed_dictionaries({**GEOMETRY, **DUST[phase]}))
    def check(values):
        opening, radius = values["disk.vertical.scale_height"], values["disk.semi_major_axis"]
        check_finite(phase, values | {"disk.vertical.scale_height": opening * radius})

    check()


def test_finite_at_every_corner():
    corners = {
        "disk.inclination": (0.0, 90.0, 180.0),
        "disk.eccentricity": (0.0, 0.3),
        "disk.position_angle": (0.0, 45.0),
        "disk.vertical.gamma": (1.0, 2.0),
        "disk.vertical.beta": (0.0, 1.0),
        # a pixel's line of sight goes through the ring's very centre
        "disk.offset_x": (0.0, PIXEL),
        "disk.radial.alpha_in": (40.0, 0.5),
    }
    ordinary = dict.fromkeys((*GEOMETRY, "disk.phase.g"), 0.7)
    ordinary |= {"disk.semi_major_axis": 40.0, "disk.radial.alpha_out": -2.0}
    ordinary |= {"disk.argument_of_pericenter": 90.0, "grid.center": (6.0, 6.0)}
    for values in itertools.product(*corners.values()):
        check_finite("henyey_greenstein", ordinary | dict(zip(corners, values, strict=True)))


def test_a_parameter_that_is_not_a_number_gives_a_gradient_that_is_none():
    ordinary = dict.fromkeys(sorted((*GEOMETRY, "disk.phase.g")), 0.7)
    ordinary |= {"disk.semi_major_axis": 40.0, "disk.radial.alpha_out": -2.0}
    ordinary["grid.center"] = (6.0, 6.0)
    paths = tuple(ordinary)
    names = ["disk.inclination", "disk.semi_major_axis", "disk.radial.alpha_in", "disk.phase.g"]
    for name in names:
        values = ordinary | {name: np.nan}
        flat = jnp.asarray(np.concatenate([np.atleast_1d(values[path]) for path in paths]))
        value, _, slopes = value_and_gradient(base("henyey_greenstein", True), flat, paths)
        assert np.isnan(value), name
        for path in ("disk.inclination", "disk.radial.alpha_in", "disk.phase.g"):
            assert np.isnan(slopes.get(path)), f"{path}, for {name}"
