"""Latitude distributions: averages, derivatives with respect to their edges, and samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

from spotgp.star.latitude import (
    CallableLatitude,
    GaussianBand,
    LatitudeBand,
    UniformLatitude,
    UniformOnSphere,
    latitude_rule,
)
from spotgp.star.visibility import VisibilityFunction

LATITUDES = {
    "uniform": UniformLatitude(),
    "sphere": UniformOnSphere(),
    "band": LatitudeBand(0.1, 0.7),
    "north": LatitudeBand(-0.2, 0.6, "north"),
    "south": LatitudeBand(0.3, 1.0, "south"),
    "gauss": GaussianBand(0.4, 0.15),
    "gauss_north": GaussianBand(-0.1, 0.3, "north"),
    "gauss_south": GaussianBand(0.9, 0.4, "south"),
    "callable": CallableLatitude(lambda phi: jnp.where(phi > 0.2, 1.0, 2.0 + phi), (0.2,)),
}
STAR = VisibilityFunction(4.0, 0.2, 1.0)


def average(latitude, f, panels):
    """By SciPy, with the definition: over all of the density, f within the panels."""
    intervals = np.asarray(latitude.intervals())

    def density(x):
        return float(latitude.density(jnp.asarray(x)))

    total = sum(quad(density, *i, epsabs=1e-12)[0] for i in intervals)
    part = 0.0
    for low, high in intervals:
        for start, stop in np.asarray(panels):
            a, b = max(low, start), min(high, stop)
            if b > a:
                part += quad(lambda x: density(x) * f(x), a, b, epsabs=1e-11)[0]
    return part / total


@pytest.mark.parametrize("name", LATITUDES)
def test_averages_are_integrals(name):
    latitude = LATITUDES[name]
    panels = STAR.panels()
    phi, weight = latitude_rule(latitude, panels, 48)
    assert phi.shape == weight.shape == (48 * 2 * len(latitude.intervals()),)
    want = average(latitude, lambda x: np.cos(3 * x) + x, panels)
    assert abs(jnp.sum(weight * (jnp.cos(3 * phi) + phi)) - want) < 1e-10
    whole = jnp.asarray([[-np.pi / 2, np.pi / 2]])
    assert abs(jnp.sum(latitude_rule(latitude, whole, 48)[1]) - 1) < 1e-11


def test_the_rule_converges_in_spite_of_the_square_roots_at_the_panels_ends():
    def power(nodes):
        phi, weight = latitude_rule(UniformLatitude(), STAR.panels(), nodes)
        return weight @ STAR.cn_squared((0, 1, 2, 3), phi)

    fine = power(400)
    assert np.abs(power(24) - fine).max() < 1e-10
    assert np.abs(power(40) - fine).max() < 1e-14


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("band", "lower"),
        ("band", "upper"),
        ("north", "lower"),
        ("south", "upper"),
        ("gauss", "center"),
        ("gauss", "width"),
        ("gauss_north", "center"),
        ("gauss_south", "width"),
    ],
)
def test_averages_are_differentiable_in_the_edges(name, field):
    latitude = LATITUDES[name]

    @jax.jit
    def mean(value):
        phi, weight = latitude_rule(latitude.set({field: value}), STAR.panels(), 48)
        return weight @ STAR.cn_squared((1,), phi)[:, 0]

    value, h = latitude.get(field), 1e-5
    difference = (mean(value + h) - mean(value - h)) / (2 * h)
    assert abs(jax.grad(mean)(value) - difference) < 1e-8
    assert abs(difference) > 1e-4


def test_averages_are_differentiable_in_the_inclination():
    @jax.jit
    def mean(inc):
        star = STAR.set({"inc": inc})
        phi, weight = latitude_rule(LATITUDES["north"], star.panels(), 48)
        return weight @ star.cn_squared((0, 1), phi).sum(axis=1)

    for inc in (0.3, 1.0, 1.5, 2.2):
        difference = (mean(inc + 1e-5) - mean(inc - 1e-5)) / 2e-5
        assert abs(jax.grad(mean)(inc) - difference) < 1e-8
    assert all(np.isfinite(jax.grad(mean)(inc)) for inc in (0.0, np.pi / 2, np.pi))


@pytest.mark.parametrize("name", LATITUDES)
def test_samples_follow_the_density(name):
    latitude = LATITUDES[name]
    sample = np.asarray(latitude.sample(jax.random.key(3), (40, 100))).ravel()
    grid = np.linspace(-np.pi / 2, np.pi / 2, 200_001)
    inside = [(i[0] <= grid) & (grid <= i[1]) for i in np.asarray(latitude.intervals())]
    density = np.where(np.any(inside, axis=0), np.asarray(latitude.density(jnp.asarray(grid))), 0)
    cumulative = np.cumsum(density) / density.sum()
    assert kstest(sample, lambda x: np.interp(x, grid, cumulative)).pvalue > 1e-3
    assert np.abs(sample).max() <= np.pi / 2
    assert latitude.sample(jax.random.key(0)).shape == ()


def test_samples_of_a_density_move_with_its_parameters():
    def mean(center):
        return GaussianBand(center, 0.1, "north").sample(jax.random.key(0), (100,)).mean()

    def numerical(center):
        band = CallableLatitude(lambda phi: jnp.exp(-0.5 * ((phi - center) / 0.1) ** 2))
        return band.sample(jax.random.key(0), (100,)).mean()

    assert abs(jax.grad(mean)(0.3) - 1) < 1e-9
    assert abs(jax.grad(numerical)(0.3) - 1) < 1e-2


@pytest.mark.parametrize("name", LATITUDES)
def test_single_precision_and_batches(name):
    latitude = LATITUDES[name]
    want = latitude_rule(latitude, STAR.panels(), 16)
    many = jax.vmap(lambda inc: latitude_rule(latitude, STAR.set({"inc": inc}).panels(), 16)[1])
    np.testing.assert_allclose(many(jnp.asarray([1.0, 0.3]))[0], want[1], rtol=0, atol=1e-15)
    with jax.enable_x64(False):
        single, star = (
            jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), m) for m in (latitude, STAR)
        )
        phi, weight = latitude_rule(single, star.panels(), 16)
        assert phi.dtype == weight.dtype == jnp.float32
        np.testing.assert_allclose(weight, want[1], rtol=0, atol=1e-6)
        assert single.sample(jax.random.key(0), (3,)).dtype == jnp.float32


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LatitudeBand(0.4, 0.4), "lower = 0.4 rad and .upper = 0.4 rad leave a band of no"),
        (lambda: LatitudeBand(0.5, 0.4), "Give a lower edge below the upper one"),
        (lambda: LatitudeBand(-0.1, 0.4), r"lower = -0.1.* rad is below the equator"),
        (lambda: LatitudeBand(0.1, 1.6), "LatitudeBand.upper = 1.6 rad is outside"),
        (lambda: LatitudeBand(0.1, 0.4, "east"), "hemispheres = 'east' is not known"),
        (lambda: GaussianBand(0.4, 0.0), "GaussianBand.width = 0 rad is outside"),
        (lambda: GaussianBand(-0.4, 0.1), "center = -0.4 rad is below the equator"),
        (lambda: CallableLatitude(jnp.cos, (0.3, 0.1)), "breakpoints = .* do not increase"),
        (lambda: CallableLatitude(lambda phi: 1.0), r"returns shape \(\) for latitudes of shape"),
    ],
)
def test_bad_values_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
