import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats

import grater
from grater import Grid
from grater.data.noise import AnnularNoise, GaussianNoise, PoissonNoise, StudentTNoise, noise_map
from pytreefit import Posterior

NOISES = [GaussianNoise(scale=1.7), StudentTNoise(scale=1.7, df=3.5), PoissonNoise(3.0, 2.0)]
ANNULAR = AnnularNoise([1.7, 0.9], (np.indices((6, 7))[1] > 3).astype(int))
PAIRS = [(NOISES[0], stats.norm()), (NOISES[1], stats.t(3.5))]


@pytest.fixture(scope="module")
def pixels():
    """Image, model, error and mask."""
    rng = np.random.default_rng(1)
    image, error = rng.normal(size=(6, 7)), rng.uniform(0.5, 2.0, (6, 7))
    model = rng.uniform(0.1, 1.0, (6, 7))
    return *map(jnp.asarray, (image + model, model, error)), jnp.asarray(rng.random((6, 7)) < 0.7)


@pytest.mark.parametrize(("noise", "frozen"), PAIRS)
def test_log_likelihood_is_scipys(noise, frozen, pixels):
    image, model, error, mask = (np.asarray(a) for a in pixels)
    width = 1.7 * error[mask]
    expected = np.sum(frozen.logpdf((image - model)[mask] / width) - np.log(width))
    np.testing.assert_allclose(noise.log_likelihood(*pixels), expected, rtol=1e-12)


@pytest.mark.parametrize("unit", [1e20, 1e-20, 1e-30])
@pytest.mark.parametrize("noise", [GaussianNoise, lambda scale: StudentTNoise(scale, 3.5)])
def test_units_of_any_size_in_single_precision(noise, unit, pixels):
    """First and second derivatives by the noise's scale do not depend on them."""

    def derivatives(unit):
        image, model, error = (jnp.asarray(a * unit, float) for a in map(np.asarray, pixels[:3]))

        def value(log_scale):
            scaled = noise(1.7 * jnp.exp(log_scale))
            return scaled.log_likelihood(image, model, error, pixels[3])

        return [jax.jit(f)(0.0) for f in (jax.grad(value), jax.hessian(value))]

    expected = derivatives(1.0)
    with jax.enable_x64(False):
        found = derivatives(unit)
    assert found[0].dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("precise", [False, True])
def test_heavy_tails_are_finite_however_far_out(precise):
    with jax.enable_x64(precise):
        noise = StudentTNoise(1.0, 4.0)
        far = jnp.asarray([0.0, 1e-3, 2.0, 1e20, 1e36])
        one = jnp.ones_like(far)
        found, slope = jax.vmap(jax.value_and_grad(lambda m, e: noise.log_density(0 * m, m, e)))(
            far, one
        )
        assert found.dtype == far.dtype
    expected = stats.t(4.0).logpdf([0.0, 1e-3, 2.0]), stats.t(4.0).logpdf(1e20)
    np.testing.assert_allclose(found[:3], expected[0], rtol=1e-6)
    # far out the density falls as a power law
    np.testing.assert_allclose(found[3], expected[1], rtol=1e-6)
    np.testing.assert_allclose(found[4], expected[1] - 5.0 * np.log(1e16), rtol=1e-6)
    np.testing.assert_allclose(slope[3:] * far[3:], [-5.0, -5.0], rtol=1e-6)


def test_counts_are_poisson_distributed():
    noise, model = NOISES[2], jnp.full((80, 90), 1.5)
    every = jnp.ones((80, 90), bool)
    drawn = noise.draw(jax.random.key(3), model, model)
    counts = np.rint(np.asarray(3.0 * (drawn + 2.0)))
    np.testing.assert_allclose(counts, 3.0 * (drawn + 2.0), atol=1e-9)
    assert counts.mean() == pytest.approx(10.5, rel=0.01)
    assert counts.var() == pytest.approx(10.5, rel=0.05)
    expected = np.sum(stats.poisson(10.5).logpmf(counts) + np.log(3.0))
    np.testing.assert_allclose(noise.log_likelihood(drawn, model, model, every), expected)
    np.testing.assert_allclose(noise.width(model, model), np.sqrt(10.5) / 3.0)
    # no light at all is unlikely, but has a gradient
    dark = PoissonNoise(3.0)
    slope = jax.grad(lambda m: dark.log_likelihood(drawn, m, model, every))(0.0 * model)
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("noise", NOISES)
def test_squares_are_the_likelihood(noise, pixels):
    image, model, error, mask = pixels
    residuals = noise.residuals(image, model, error, mask)
    normalization = noise.log_normalization(model, error, mask)
    assert (residuals is None) == (normalization is None) == (noise is not NOISES[0])
    if residuals is not None:
        value = np.sum(normalization - 0.5 * residuals**2)
        np.testing.assert_allclose(value, noise.log_likelihood(*pixels), rtol=1e-12)


@pytest.mark.parametrize("noise", NOISES)
def test_masked_pixels_have_no_effect_and_no_gradient(noise, pixels):
    image, model, error, mask = pixels
    wild = (
        jnp.where(mask, image, 1e200),
        jnp.where(mask, model, -1e200),
        jnp.where(mask, error, 0.0),
    )
    assert noise.log_likelihood(*wild, mask) == noise.log_likelihood(*pixels)
    gradient = jax.grad(lambda *a: noise.log_likelihood(*a, mask), argnums=(0, 1, 2))(*wild)
    for g in gradient:
        assert np.isfinite(g).all()
        assert (np.asarray(g)[~np.asarray(mask)] == 0).all()


@pytest.mark.parametrize("noise", NOISES)
def test_gradients_are_finite_differences(noise, pixels):
    parameters, static = eqx.partition(noise, eqx.is_inexact_array)

    def value(parameters):
        return eqx.combine(parameters, static).log_likelihood(*pixels)

    check_grads(value, (parameters,), order=1, modes=["rev"], rtol=1e-6)


def test_best_scale_is_the_rms(pixels):
    image, model, error, mask = pixels
    rms = jnp.sqrt(jnp.mean(jnp.square((image - model) / error)[mask]))
    slope = jax.grad(lambda s: GaussianNoise(s).log_likelihood(*pixels))(rms)
    np.testing.assert_allclose(slope, 0.0, atol=1e-10)


def test_student_t_becomes_gaussian(pixels):
    student = StudentTNoise(scale=1.2, df=1e7).log_likelihood(*pixels)
    np.testing.assert_allclose(student, GaussianNoise(1.2).log_likelihood(*pixels), rtol=1e-6)


@pytest.mark.parametrize(("noise", "frozen"), PAIRS)
def test_draws_follow_the_density(noise, frozen):
    error = jnp.full((60, 50), 0.3)
    drawn = np.asarray(noise.draw(jax.random.key(0), 2.0 * error, error)) - 0.6
    assert drawn.shape == (60, 50)
    assert stats.kstest(drawn.ravel() / (1.7 * 0.3), frozen.cdf).pvalue > 0.01


@pytest.mark.parametrize("noise", NOISES)
def test_float32(noise, pixels):
    double = float(noise.log_likelihood(*pixels))
    with jax.enable_x64(False):
        single = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, np.float32)), noise)
        arrays = [jnp.asarray(np.asarray(a)) for a in pixels]
        value = single.log_likelihood(*arrays)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, double, rtol=1e-5)


def test_scale_must_be_positive():
    with pytest.raises(ValueError, match=r"GaussianNoise.scale = 0.* is outside \(0, inf\)"):
        GaussianNoise(scale=0.0)
    with pytest.raises(ValueError, match=r"StudentTNoise.df = -1.* is outside \(0, inf\)"):
        StudentTNoise(df=-1.0)


@pytest.mark.parametrize(("center", "half_width"), [(None, 1.5), ((3.3, 6.8), 2.0), ((5, 5), 1.0)])
def test_noise_map_is_its_definition(center, half_width):
    rng = np.random.default_rng(2)
    image = rng.normal(size=(11, 12))
    image[rng.random((11, 12)) < 0.2] = np.nan
    x0, y0 = center or (6, 5)
    radius = np.sqrt((np.arange(12) - x0) ** 2 + (np.arange(11)[:, None] - y0) ** 2)
    expected = np.empty_like(image)
    for p in np.ndindex(image.shape):
        annulus = (np.abs(radius - radius[p]) <= half_width + 1e-9) & np.isfinite(image)
        expected[p] = np.std(image[annulus]) if annulus.sum() > 1 else np.nan
    np.testing.assert_allclose(noise_map(image, center, half_width), expected, rtol=1e-12)


def test_noise_map_reads_big_endian_and_leaves_lonely_pixels_out():
    image = np.full((9, 9), np.nan, dtype=">f4")
    image[4, 4] = 1.0
    assert np.isnan(noise_map(image, half_width=0.5)).all()


def test_noise_map_refuses_cubes_and_empty_annuli():
    with pytest.raises(ValueError, match=r"2-d image \(ny, nx\), not one of shape \(4, 5, 5\)"):
        noise_map(np.zeros((4, 5, 5)))
    with pytest.raises(ValueError, match="half_width = 0 must be > 0"):
        noise_map(np.zeros((5, 5)), half_width=0)


def test_annuli_have_factors_of_their_own(pixels):
    image, model, error, mask = pixels
    found = ANNULAR.log_likelihood(*pixels)
    inner = np.asarray(mask) & (np.indices((6, 7))[1] <= 3)
    parts = [
        GaussianNoise(scale).log_likelihood(image, model, error, jnp.asarray(where))
        for scale, where in ((1.7, inner), (0.9, np.asarray(mask) & ~inner))
    ]
    np.testing.assert_allclose(found, sum(parts), rtol=1e-12)
    squares = jnp.square(ANNULAR.residuals(*pixels))
    value = jnp.sum(ANNULAR.log_normalization(model, error, mask) - 0.5 * squares)
    np.testing.assert_allclose(value, found, rtol=1e-12)
    check_grads(lambda s: ANNULAR.set({"scale": s}).log_likelihood(*pixels), (ANNULAR.scale,), 1)
    drawn = ANNULAR.draw(jax.random.key(0), 0.0 * error, jnp.ones((6, 7)))
    assert drawn.shape == (6, 7)


def test_annuli_about_the_star():
    noise = AnnularNoise.about(Grid((21, 21), 0.1, 10.0, center=(10.0, 8.0)), [3.0, 6.0], 1.2)
    y, x = np.indices((21, 21))
    radius = np.hypot(x - 10.0, y - 8.0)
    expected = (radius >= 3.0).astype(int) + (radius >= 6.0)
    np.testing.assert_array_equal(noise.annulus, expected)
    np.testing.assert_allclose(noise.width(0.0, jnp.ones((21, 21))), 1.2)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: AnnularNoise([1.0], np.ones((3, 3))), "annuli are 0 to 0"),
        (lambda: AnnularNoise([1.0, 2.0], np.full((3, 3), 0.5)), "annuli are 0 to 1"),
        (lambda: AnnularNoise(1.0, np.zeros((3, 3))), "scale"),
        (lambda: AnnularNoise([-1.0], np.zeros((3, 3))), "scale"),
        (lambda: AnnularNoise.about(Grid((5, 5), 0.1, 10.0), [4.0, 2.0]), "increasing"),
        (lambda: AnnularNoise([1.0], np.zeros((3, 3))).width(0.0, jnp.ones((4, 4))), "shape"),
    ],
)
def test_bad_annuli(make, says):
    with pytest.raises((ValueError, TypeError), match=says):
        make()


def test_counts_below_nothing_are_said():
    """Half of the blank sky is below 0 where its background was subtracted and is not given."""
    rng = np.random.default_rng(0)
    image = rng.poisson(10.0, (21, 21)) - 10.0
    setup = {"pixel_scale": 0.1, "distance": 10.0}
    data = grater.Observation(image, 1.0, **setup)
    disk = grater.Disk(5.0, 60.0, 0.0, alpha_in=5.0, alpha_out=-5.0, scale_height=0.3)
    scene = grater.Scene(disk, grid=data.grid, noise=PoissonNoise(1.0))
    priors = {"disk.flux": (0.0, 10.0)}
    with pytest.warns(UserWarning, match=r"of the 441 pixels in use are below -background = 0:"):
        Posterior(scene, data.log_likelihood, priors)
    Posterior(scene.set({"noise.background": 10.0}), data.log_likelihood, priors)
    free = priors | {"noise.background": (0.0, 20.0)}
    Posterior(scene.set({"noise.background": 1.0}), data.log_likelihood, free)
