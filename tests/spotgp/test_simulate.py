"""Simulated light curves against pixels, against the kernel and against their own derivatives."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spotgp.kernel.numerical import NumericalKernel
from spotgp.simulation.simulate import LightcurveModel, blocked_light, light_curve, simulate
from spotgp.simulation.spots import Spots, draw_spots, emergence_window
from spotgp.star.cap_light import cap_light
from spotgp.star.envelope import AbstractEnvelope
from spotgp.star.exponential import ExponentialEnvelope
from spotgp.star.finite_spots import (
    FiniteLimbDarkenedVisibilityFunction,
    FiniteSpotVisibilityFunction,
)
from spotgp.star.latitude import GaussianBand, LatitudeBand, latitude_rule
from spotgp.star.limb_darkening import (
    FourParameterVisibilityFunction,
    LimbDarkenedVisibilityFunction,
)
from spotgp.star.model import SpotEvolutionModel
from spotgp.star.trapezoid import TrapezoidSymmetricEnvelope
from spotgp.star.visibility import EdgeOnVisibilityFunction, VisibilityFunction


class Bell(AbstractEnvelope):
    """An envelope of a user: nothing but its profile."""

    width: jax.Array = eqx.field(converter=lambda x: jnp.asarray(x, jnp.result_type(float)))

    def Gamma(self, t):
        return jnp.exp(-((t / self.width) ** 2) / 4)


TRAPEZOID = TrapezoidSymmetricEnvelope(lspot=15.0, tau_spot=5.0)
ROTATION = {"peq": 10.0, "kappa": 0.3, "inc": np.pi / 3}
UNIFORM = VisibilityFunction(**ROTATION)
QUADRATIC = LimbDarkenedVisibilityFunction(**ROTATION, u1=0.5, u2=0.2)
FOUR = FourParameterVisibilityFunction(**ROTATION, a1=0.5, a2=-0.2, a3=0.6, a4=-0.3)
MODEL = SpotEvolutionModel(TRAPEZOID, UNIFORM, sigma_k=0.01)
POPULATION = {"nspot_rate": 0.5, "fspot": 0.3, "alpha_max": 0.05}
T = 0.5 * np.arange(300)


@pytest.fixture(scope="module")
def lc():
    return LightcurveModel.from_spot_model(
        spot_model=MODEL,
        nspot=30,
        tsim=150,
        tsamp=0.5,
        lat=[-np.pi / 2, np.pi / 2],
        long=[0, 2 * np.pi],
    )


def pixels_inside_cap(alpha, cos_beta, n=1400):
    """Foreshortening of the pixels of a cap on the disk, and the area of one."""
    x = (np.arange(n) + 0.5) * 2 / n - 1
    x, y = np.meshgrid(x, x)
    z = np.sqrt(np.where(x**2 + y**2 < 1, 1 - x**2 - y**2, np.nan))
    inside = x * np.sqrt(1 - cos_beta**2) + z * cos_beta > np.cos(alpha)
    return z[inside], (2 / n) ** 2


LAWS = {
    "uniform": (UNIFORM, lambda mu: np.ones_like(mu)),
    "quadratic": (QUADRATIC, lambda mu: (1 - 0.5 * (1 - mu) - 0.2 * (1 - mu) ** 2) / (0.8)),
    "four": (
        FOUR,
        lambda mu: (
            (1 - 0.5 * (1 - mu**0.5) + 0.2 * (1 - mu) - 0.6 * (1 - mu**1.5) + 0.3 * (1 - mu**2))
            / (1 - 0.5 / 5 + 0.4 / 6 - 1.8 / 7 + 1.2 / 8)
        ),
    ),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize(("alpha", "cos_beta"), [(0.3, 0.8), (0.4, 0.2), (0.4, -0.1), (1.2, 0.5)])
def test_blocked_light_against_pixels(name, alpha, cos_beta):
    visibility, intensity = LAWS[name]
    mu, area = pixels_inside_cap(alpha, cos_beta)
    flux = {"uniform": 1.0, "quadratic": (1 - 0.5 / 3 - 0.2 / 6) / 0.8, "four": 1.0}[name]
    expected = np.sum(intensity(mu)) * area / (np.pi * flux)
    got = float(blocked_light(visibility, jnp.asarray(alpha), jnp.asarray(cos_beta)))
    # pixels cut by the rim: some per mille of the smallest cap
    assert got == pytest.approx(expected, rel=2e-3, abs=2e-6)


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0])
def test_cap_light_by_rings(power):
    """Independent quadrature: rings around the cap's centre instead of its rim."""
    x, w = np.polynomial.legendre.leggauss(200)
    half_sine, half_cosine = (
        np.sin(np.pi / 4 * (x + 1)),
        np.pi / 4 * w * np.cos(np.pi / 4 * (x + 1)),
    )
    for alpha, cos_beta in [(0.1, 0.95), (0.3, 0.2), (0.3, -0.05), (1.3, 0.6)]:
        beta = np.arccos(cos_beta)
        touch = min(abs(np.pi / 2 - beta), alpha)
        expected = 0.0
        for low, high in ((0.0, touch), (touch, alpha)):
            s = 0.5 * (x + 1)
            rho, weight = low + (high - low) * s**2, (high - low) * s * w
            a0, a1 = cos_beta * np.cos(rho), np.sin(beta) * np.sin(rho)
            theta = np.arccos(np.clip(-a0 / a1, -1, 1))
            mu = np.maximum(a0[:, None] + a1[:, None] * np.cos(theta[:, None] * half_sine), 0)
            ring = theta * (mu**power @ half_cosine)
            expected += 2 * np.sum(weight * np.sin(rho) * ring) / np.pi
        got = cap_light(jnp.asarray(alpha), jnp.asarray(cos_beta), power)
        assert float(got) == pytest.approx(expected, abs=1e-7 * alpha**2)


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0])
def test_cap_light_gradients(power):
    alpha = jnp.asarray([0.1, 0.3, 0.5, 0.1, 1.2, 0.02])
    cos_beta = jnp.asarray([0.9, 0.2, -0.1, -0.05, 0.3, 0.01])
    total = jax.jit(lambda a, c: cap_light(a, c, power))
    by_alpha, by_cosine = jax.jit(jax.grad(lambda a, c: jnp.sum(cap_light(a, c, power)), (0, 1)))(
        alpha, cos_beta
    )
    h = 1e-5
    np.testing.assert_allclose(
        by_alpha, (total(alpha + h, cos_beta) - total(alpha - h, cos_beta)) / (2 * h), atol=1e-7
    )
    np.testing.assert_allclose(
        by_cosine, (total(alpha, cos_beta + h) - total(alpha, cos_beta - h)) / (2 * h), atol=2e-6
    )


def test_cap_light_gradients_are_finite_at_the_ends():
    alpha = jnp.asarray([0.0, 0.0, 0.2, 0.2, np.pi / 2, 0.2, np.pi / 2])
    cos_beta = jnp.asarray([1.0, 0.0, 1.0, -1.0, 1.0, np.sin(0.2), 0.0])
    slope = jax.jit(
        jax.grad(lambda a, c: sum(jnp.sum(cap_light(a, c, p)) for p in (1.0, 1.5, 2.0)), (0, 1))
    )
    assert np.isfinite(slope(alpha, cos_beta)).all()


def test_finite_spot_visibilities_show_the_same_star():
    alpha, cos_beta = jnp.full(4, 0.2), jnp.asarray([0.9, 0.15, -0.1, -0.5])
    for finite, small in (
        (FiniteSpotVisibilityFunction(**ROTATION, alpha=0.2), UNIFORM),
        (FiniteLimbDarkenedVisibilityFunction(**ROTATION, u1=0.5, u2=0.2, alpha=0.2), QUADRATIC),
    ):
        got = blocked_light(small, alpha, cos_beta)
        np.testing.assert_array_equal(got, blocked_light(finite, alpha, cos_beta))
        expected = finite.profile(cos_beta) * jnp.sin(alpha) ** 2
        np.testing.assert_allclose(got, expected, atol=1e-9)


def one_by_one(model, spots, t):
    """The definition, spot by spot, in NumPy."""
    inc = float(model.inc)
    flux = np.ones_like(t)
    arrays = (np.asarray(getattr(spots, name)) for name in Spots.__dataclass_fields__)
    for peak, phi, longitude, alpha, weight, stretch in zip(*arrays, strict=True):
        age = t - peak
        omega = 2 * np.pi * (1 - float(model.kappa) * np.sin(phi) ** 2) / float(model.peq)
        turn = longitude + omega * age
        mu = np.cos(inc) * np.sin(phi) + np.sin(inc) * np.cos(phi) * np.cos(turn)
        radius = alpha * model.envelope.Gamma(jnp.asarray(age / stretch))
        flux = flux - weight * np.asarray(blocked_light(model.visibility, radius, jnp.asarray(mu)))
    return flux


def test_light_curve_is_its_definition(lc):
    assert lc.t.shape == lc.flux.shape == (300,)
    assert lc.t[0] == 0.0
    assert lc.t[-1] == 149.5
    np.testing.assert_allclose(lc.flux, one_by_one(MODEL, lc.spots, T), atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("n", [0, 1, 7, 100])
def test_any_number_of_spots_and_times_in_any_order(n):
    rng = np.random.default_rng(n)
    spots = Spots(
        rng.uniform(-10, 160, n),
        rng.uniform(-1.5, 1.5, n),
        rng.uniform(0, 6, n),
        rng.uniform(0, 0.3, n),
        rng.uniform(-1, 1, n),
    )
    t = rng.permutation(T)[:123]
    np.testing.assert_allclose(
        light_curve(MODEL, spots, t), one_by_one(MODEL, spots, t), atol=1e-13
    )


def test_edge_on_is_inclination_of_90_degrees():
    spots = Spots([0.0, 3.0], [0.3, -0.7], [0.0, 2.0], [0.2, 0.1], [1.0, 0.5])
    edge = eqx.tree_at(lambda m: m.visibility, MODEL, EdgeOnVisibilityFunction(10.0, 0.3))
    tilted = MODEL.set({"visibility.inc": np.pi / 2})
    np.testing.assert_allclose(
        light_curve(edge, spots, T), light_curve(tilted, spots, T), atol=1e-15
    )


def test_gradients_are_finite_differences(lc):
    weight = jnp.asarray(np.random.default_rng(1).normal(size=300))
    names = ("visibility.peq", "visibility.kappa", "visibility.inc")
    names += ("envelope.lspot", "envelope.tau_spot")
    at = {f"model.{name}": lc.get(f"model.{name}") for name in names}
    both = jax.jit(jax.value_and_grad(lambda x: jnp.sum(weight * lc.set(x).flux)))
    _, slope = both(at)
    h = 1e-5
    for path in at:
        above, below = both(at | {path: at[path] + h})[0], both(at | {path: at[path] - h})[0]
        np.testing.assert_allclose(slope[path], (above - below) / (2 * h), rtol=2e-6, atol=1e-7)


@pytest.mark.slow
def test_gradients_in_the_spots_and_the_limb_darkening():
    rng = np.random.default_rng(3)
    star = eqx.tree_at(lambda m: m.visibility, MODEL, QUADRATIC)
    spots = draw_spots(star, jax.random.key(5), T[:80], nspot=12)
    weight = jnp.asarray(rng.normal(size=80))

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def objective(both):
        visibility, spots = both
        model = eqx.tree_at(lambda m: m.visibility, MODEL, visibility)
        return jnp.sum(weight * light_curve(model, spots, T[:80]))

    at = (QUADRATIC, spots)
    _, gradient = objective(at)
    step = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), at)
    move = lambda h: jax.tree.map(lambda a, s: a + h * s, at, step)  # noqa: E731
    h = 1e-6
    expected = (objective(move(h))[0] - objective(move(-h))[0]) / (2 * h)
    dots = jax.tree.map(lambda g, s: jnp.sum(g * s), gradient, step)
    np.testing.assert_allclose(sum(jax.tree.leaves(dots)), expected, rtol=1e-6)


@pytest.mark.slow
def test_float32(lc):
    with jax.enable_x64(False):
        spots = Spots(*(np.asarray(a) for a in jax.tree.leaves(lc.spots)))
        model = SpotEvolutionModel(
            TrapezoidSymmetricEnvelope(15.0, 5.0), VisibilityFunction(**ROTATION), sigma_k=0.01
        )
        single = LightcurveModel(model, spots, T)
        flux = single.flux
        slope = jax.grad(lambda i: jnp.sum(single.set({"model.visibility.inc": i}).flux))(model.inc)
        assert flux.dtype == slope.dtype == jnp.float32
        assert np.isfinite(slope)
        drawn = LightcurveModel.from_spot_model(model, nspot=30, tsim=150, tsamp=0.5)
        assert drawn.flux.dtype == jnp.float32
    np.testing.assert_allclose(flux, lc.flux, atol=2e-6)


def test_same_key_same_spots(lc):
    again = LightcurveModel.from_spot_model(MODEL, nspot=30, tsim=150, tsamp=0.5)
    np.testing.assert_array_equal(again.flux, lc.flux)
    other = LightcurveModel.from_spot_model(MODEL, 30, 150, 0.5, key=jax.random.key(1))
    assert not np.allclose(other.flux, lc.flux)


def test_spots_fill_the_window_that_is_seen():
    first, last = emergence_window(TRAPEZOID, jnp.asarray(T))
    assert (float(first), float(last)) == (-12.5, 149.5 + 12.5)
    spots = draw_spots(MODEL, jax.random.key(0), T, nspot=20000)
    u = (np.asarray(spots.t_peak) - float(first)) / float(last - first)
    assert 0 <= u.min() < 1e-3
    assert 0.999 < u.max() <= 1
    for values in (u, (spots.latitude / np.pi + 0.5), spots.longitude / (2 * np.pi)):
        quantiles = np.quantile(np.asarray(values), [0.25, 0.5, 0.75])
        np.testing.assert_allclose(quantiles, [0.25, 0.5, 0.75], atol=0.015)
    assert np.all(np.diff(spots.t_peak) >= 0)


def test_ranges_of_latitude_and_longitude():
    star = eqx.tree_at(lambda m: m.latitude, MODEL, GaussianBand(0.4, 0.2))
    spots = draw_spots(star, jax.random.key(0), T, nspot=5000, lat=[0.3, 0.6], long=[1.0, 1.5])
    latitude = np.asarray(spots.latitude)
    assert 0.3 <= latitude.min() < 0.301
    assert 0.599 < latitude.max() <= 0.6
    # the model's own density inside of the range
    grid = np.linspace(0.3, 0.6, 2001)
    density = np.exp(-((grid - 0.4) ** 2) / 0.08)
    expected = np.sum(grid * density) / np.sum(density)
    assert latitude.mean() == pytest.approx(expected, abs=4 * latitude.std() / 5000**0.5)
    assert 1.0 <= spots.longitude.min() < spots.longitude.max() <= 1.5


def test_size_follows_from_sigma_k(lc):
    rate = 30 / (149.5 + 25)
    alpha = np.asarray(lc.spots.alpha_max)
    np.testing.assert_allclose(np.sqrt(rate) * alpha**2, 0.01, rtol=1e-12)
    with_contrast = draw_spots(MODEL, jax.random.key(0), T, nspot_rate=0.5, fspot=0.4)
    np.testing.assert_allclose(
        np.sqrt(0.5) * 0.6 * np.asarray(with_contrast.alpha_max) ** 2, 0.01, rtol=1e-12
    )


def test_population_of_the_model_holds_unless_given():
    star = SpotEvolutionModel(TRAPEZOID, UNIFORM, **POPULATION)
    drawn = LightcurveModel.from_spot_model(star, t=T)
    np.testing.assert_allclose(drawn.spots.alpha_max, 0.05)
    np.testing.assert_allclose(drawn.spots.weight, 0.7)
    assert abs(drawn.spots.t_peak.size - 87) < 5 * 87**0.5
    given = LightcurveModel.from_spot_model(star, 10, t=T, fspot=0.0, alpha_max=0.1)
    assert given.spots.t_peak.shape == (10,)
    np.testing.assert_allclose(given.spots.alpha_max, 0.1)
    np.testing.assert_allclose(given.spots.weight, 1.0)


@pytest.mark.slow
def test_batch_equals_one_by_one():
    key, rate = jax.random.key(7), 0.4
    batch = simulate(MODEL, key, T, 3, nspot_rate=rate)
    keys = jax.random.split(key, 3)
    for flux, k in zip(batch, keys, strict=True):
        alone = LightcurveModel.from_spot_model(MODEL, t=T, nspot_rate=rate, key=k)
        np.testing.assert_allclose(flux, alone.flux, atol=1e-14)
    draw = lambda k: draw_spots(MODEL, k, T, nspot_rate=rate, max_spots=144)  # noqa: E731
    by_vmap = jax.jit(jax.vmap(lambda k: light_curve(MODEL, draw(k), T)))(keys)
    np.testing.assert_allclose(by_vmap, batch, atol=1e-14)


def test_too_many_spots_for_the_arrays_are_noticed():
    spots = draw_spots(MODEL, jax.random.key(0), T, nspot_rate=1.0, max_spots=20)
    assert np.isnan(spots.weight).all()


@eqx.filter_jit
def kernel(model, lag):
    """sigma_k^2 R_Gamma <A> by plain quadrature over latitude."""
    panels = jnp.sort(jnp.clip(model.visibility.panels(), -np.pi / 2, np.pi / 2))
    phi, weight = latitude_rule(model.latitude, panels, 64)
    angle = model.visibility.omega0(phi)[:, None] * lag[None]
    average = weight @ model.visibility.autocorrelation(phi[:, None], angle)
    return model.variance * model.envelope.R_Gamma(lag) * average


@pytest.mark.parametrize(
    "star",
    [
        SpotEvolutionModel(TRAPEZOID, UNIFORM, **POPULATION),
        pytest.param(
            SpotEvolutionModel(
                ExponentialEnvelope(2.0), UNIFORM, **POPULATION, latitude=LatitudeBand(0.2, 0.6)
            ),
            marks=pytest.mark.slow,
        ),
        pytest.param(SpotEvolutionModel(Bell(3.0), UNIFORM, **POPULATION), marks=pytest.mark.slow),
        SpotEvolutionModel(TRAPEZOID, QUADRATIC, **POPULATION),
    ],
    ids=["trapezoid", "exponential in a band", "own envelope", "limb-darkened"],
)
def test_covariance_and_mean_of_many_realisations(star):
    measured = NumericalKernel.from_spot_model(
        star, tsim=40.0, tsamp=1.0, n_realizations=2000, key=jax.random.key(11)
    )
    lag = measured.lag[:30]
    expected = kernel(star, lag)
    pull = (measured.covariance[:30] - expected) / measured.standard_error[:30]
    # neighbouring lags err alike: of 30, at most a few independent ones
    assert np.abs(pull).max() < 3.5
    assert measured.standard_error[0] < 0.05 * expected[0]
    mean = eqx.filter_jit(SpotEvolutionModel.mean_flux)(star)
    assert abs(measured.mean - mean) < 4 * measured.mean_error
    assert measured.mean_error < 0.03 * (1 - mean)


def test_numerical_kernel_of_known_noise():
    """Against NumPy's own sums, and a process whose covariance is known: moving averages."""
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(400, 103))
    flux = 1.0 + (noise[:, 3:] + noise[:, 2:-1] + noise[:, 1:-2] + noise[:, :-3]) / 4
    measured = NumericalKernel.from_light_curves(flux, 0.5)
    centred = flux - flux.mean()
    extra = np.var(flux.mean(axis=1), ddof=1) / 400
    for m in (0, 1, 30, 99):
        products = centred[:, : 100 - m] * centred[:, m:]
        assert measured.covariance[m] == pytest.approx(products.mean() + extra, abs=1e-12)
    expected = np.clip(4 - np.arange(100), 0, None) / 16
    pull = (measured.covariance - expected)[:30] / measured.standard_error[:30]
    assert np.abs(pull).max() < 4
    assert 0.4 < np.mean(pull**2) < 2.5
    between = measured.kernel([[0.25], [-0.25]])
    np.testing.assert_allclose(between, measured.covariance[:2].mean(), rtol=1e-12)
    assert np.isnan(measured.kernel(60.0))


def make(**changes):
    return LightcurveModel.from_spot_model(MODEL, **({"nspot": 5, "tsim": 9, "tsamp": 1} | changes))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(nspot=None), "Neither nspot nor nspot_rate is given.*sigma_k only"),
        (lambda: make(nspot_rate=1.0), "Both nspot = 5 and nspot_rate = 1.0 are given"),
        (lambda: make(nspot=-1), "nspot = -1 is not a number of spots"),
        (lambda: make(nspot=2.5), "nspot = 2.5 is not a number of spots"),
        (lambda: make(nspot=None, nspot_rate=-1.0), r"nspot_rate = -1 is not allowed.*>= 0"),
        (lambda: make(tsim=0), r"tsim = 0 is not allowed.*> 0"),
        (lambda: make(tsim=-3.0), r"tsim = -3.0 is not allowed"),
        (lambda: make(tsamp=np.nan), r"tsamp = nan is not allowed"),
        (lambda: make(tsim=None), "tsim is not given: give tsim and tsamp"),
        (lambda: make(t=T), "Both t and tsim or tsamp are given"),
        (lambda: make(tsim=None, tsamp=None, t=[]), "t is empty"),
        (lambda: make(tsim=None, tsamp=None, t=[0.0, np.nan]), "t holds 1 values .* not finite"),
        (lambda: make(tsim=None, tsamp=None, t=[[0.0]]), r"t has shape \(1, 1\)"),
        (lambda: make(lat=[0.3, 0.3]), r"lat = \[0.3, 0.3\] has no width"),
        (lambda: make(lat=[0.5, 0.2]), r"lat = \[0.5, 0.2\] has no width"),
        (lambda: make(lat=0.5), "lat = 0.5 is not a range"),
        (lambda: make(lat=[0.0, 2.0]), r"lat = \[0, 2\] reaches beyond a pole"),
        (lambda: make(long=[1.0, 1.0]), r"long = \[1, 1\] has no width"),
        (lambda: make(alpha_max=1.7), r"alpha_max = 1.7 is not allowed.*\(0, pi/2\]"),
        (lambda: make(alpha_max=0.0), "alpha_max = 0 is not allowed"),
        (lambda: make(fspot=-0.1), "fspot = -0.1 is not allowed"),
        (lambda: make(fspot=1.0), "fspot = 1 is not allowed.*sigma_k"),
        (lambda: make(nspot=None, nspot_rate=1e-9), r"sigma_k = 0.01 .* alpha_max = 17.8 rad"),
        (
            lambda: LightcurveModel.from_spot_model(
                eqx.tree_at(lambda m: m.latitude, MODEL, LatitudeBand(0.1, 0.2)),
                3,
                9,
                1,
                lat=[0.5, 0.6],
            ),
            r"lat = \[0.5, 0.6\] holds none of the latitudes of the model's LatitudeBand",
        ),
        (lambda: Spots([0.0], [0.0], [0.0], [1.6], [1.0]), r"alpha_max\[0\] = 1.6 rad is outside"),
        (lambda: Spots([0.0], [2.0], [0.0], [0.1], [1.0]), r"latitude\[0\] = 2 rad is outside"),
        (lambda: Spots([0.0, 1.0], [0.0], [0.0], [0.1], [1.0]), "different shapes: t_peak"),
        (
            lambda: jax.jit(lambda r: draw_spots(MODEL, jax.random.key(0), T, nspot_rate=r))(1.0),
            "pass max_spots",
        ),
        (lambda: NumericalKernel.from_light_curves(np.ones(5), 0.5), r"flux has shape \(5,\)"),
        (lambda: NumericalKernel.from_light_curves(np.ones((2, 5)), 0.0), "tsamp = 0.0"),
        (
            lambda: NumericalKernel.from_spot_model(
                MODEL, nspot_rate=1.0, tsim=9, tsamp=1, n_realizations=1
            ),
            "n_realizations = 1 leaves no spread",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        call()
