"""Noise of correlated pixels against dense Gaussians, and in fits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy import units as u
from jax.test_util import check_grads
from scipy import stats

import factories
import grater
from grater import (
    CorrelatedNoise,
    GaussianCorrelation,
    GaussianNoise,
    MaternCorrelation,
    TableCorrelation,
    pixel_correlation,
)
from grater.data.correlated import Patterns
from grater.data.correlation import noise_image
from pytreefit import Joint, Posterior

TABLE = np.outer([0.1, 0.5, 1.0, 0.5, 0.1], [0.1, 0.5, 1.0, 0.5, 0.1])
CORRELATIONS = [MaternCorrelation(2.0), GaussianCorrelation(2.0), TableCorrelation(TABLE)]


def dense(correlation, white, mask):
    """Correlation matrix of the pixels in use."""
    y, x = (jnp.asarray(values, float) for values in np.nonzero(mask))
    lags = x[:, None] - x[None, :], y[:, None] - y[None, :]
    return (1.0 - white) * np.asarray(correlation.at(*lags)) + white * np.eye(len(x))


@pytest.fixture(scope="module")
def pixels():
    """Image, model, error and mask."""
    rng = np.random.default_rng(1)
    model, error = rng.uniform(0.1, 1.0, (7, 8)), rng.uniform(0.5, 2.0, (7, 8))
    image = model + error * rng.normal(size=(7, 8))
    return *map(jnp.asarray, (image, model, error)), jnp.asarray(rng.random((7, 8)) < 0.8)


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_it_is_the_dense_gaussian_where_all_pixels_are_neighbours(correlation, pixels):
    image, model, error, mask = map(np.asarray, pixels)
    noise = CorrelatedNoise(correlation, 0.2, GaussianNoise(1.7), reach=11)
    width = 1.7 * error[mask]
    covariance = width[:, None] * dense(correlation, 0.2, mask) * width[None, :]
    frozen = stats.multivariate_normal(np.zeros(mask.sum()), covariance)
    expected = frozen.logpdf((image - model)[mask])
    np.testing.assert_allclose(noise.log_likelihood(*pixels), expected, rtol=1e-10)
    # and with the mask unknown to the compiler
    compiled = jax.jit(lambda *arrays: noise.log_likelihood(*arrays))(*pixels)
    np.testing.assert_allclose(compiled, expected, rtol=1e-10)
    residuals = noise.residuals(*pixels)
    squares = jnp.sum(noise.log_normalization(*pixels[1:]) - 0.5 * residuals**2)
    np.testing.assert_allclose(squares, expected, rtol=1e-10)
    rows, factor = noise.whitened(*pixels)
    np.testing.assert_allclose(
        rows / factor - noise.whitened(*pixels[1:2], *pixels[1:])[0] / factor, residuals, atol=1e-12
    )


def test_without_correlation_it_is_white(pixels):
    noise = CorrelatedNoise(MaternCorrelation(3.0), white=1.0, noise=GaussianNoise(1.3))
    expected = GaussianNoise(1.3).log_likelihood(*pixels)
    np.testing.assert_allclose(noise.log_likelihood(*pixels), expected, rtol=1e-11)
    every = jnp.ones_like(pixels[3])
    density = noise.log_density(*pixels[:3])
    np.testing.assert_allclose(jnp.sum(density), noise.log_likelihood(*pixels[:3], every))


@pytest.mark.parametrize(("length", "white"), [(1.5, 0.1), (1.5, 0.4), (3.0, 0.2)])
def test_few_neighbours_are_within_the_stated_error(length, white):
    rng = np.random.default_rng(3)
    y, x = np.indices((40, 40)) - 20
    mask = (np.hypot(x, y) > 4) & (np.hypot(x, y) < 19) & (rng.random((40, 40)) < 0.97)
    noise = CorrelatedNoise(MaternCorrelation(length), white)
    root = np.linalg.cholesky(dense(noise.correlation, white, mask))
    error = float(noise.error(mask))
    ones = jnp.ones(mask.shape)
    frozen = jax.jit(lambda image: noise.log_likelihood(image, 0.0 * ones, ones, mask))
    for _ in range(5):
        normal = rng.normal(size=len(root))
        image = np.zeros(mask.shape)
        image[mask] = root @ normal
        expected = np.sum(stats.norm.logpdf(normal)) - np.sum(np.log(np.diag(root)))
        assert abs(float(frozen(jnp.asarray(image))) - expected) < error
    assert error < (0.1 if length < 2 else 1.5)
    # more of them are nearer
    assert CorrelatedNoise(noise.correlation, white, reach=8).error(mask) < 0.3 * error


def test_gradients_are_finite_differences(pixels):
    noise = CorrelatedNoise(MaternCorrelation(1.5), 0.3, GaussianNoise(1.2), reach=2)
    parameters, static = eqx.partition((noise, *pixels[:3]), eqx.is_inexact_array)

    def value(parameters):
        noise, *arrays = eqx.combine(parameters, static)
        return noise.log_likelihood(*arrays, pixels[3])

    check_grads(value, (parameters,), order=1, modes=["fwd", "rev"], rtol=1e-6)
    smooth = CorrelatedNoise(GaussianCorrelation(1.5), 0.3, reach=2)
    slope = jax.grad(lambda noise: noise.log_likelihood(*pixels))(smooth)
    up, down = (smooth.set({"fwhm": 1.5 + step}).log_likelihood(*pixels) for step in (1e-5, -1e-5))
    np.testing.assert_allclose(slope.correlation.fwhm, (up - down) / 2e-5, rtol=1e-6)


def test_masked_pixels_have_no_effect_and_no_gradient(pixels):
    image, model, error, mask = pixels
    noise = CorrelatedNoise(MaternCorrelation(1.5), 0.3, reach=2)
    wild = image.at[~mask].set(1e200), model, error.at[~mask].set(0.0)
    expected = noise.log_likelihood(*pixels)
    assert noise.log_likelihood(*wild, mask) == expected
    gradient = jax.grad(lambda *a: noise.log_likelihood(*a, mask), argnums=(0, 1, 2))(*wild)
    for g in gradient:
        assert np.isfinite(g).all()
        assert (np.asarray(g)[~np.asarray(mask)] == 0).all()


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_draws_have_the_correlation(correlation):
    noise, error = CorrelatedNoise(correlation, 0.2, GaussianNoise(1.5)), jnp.full((300, 300), 0.2)
    drawn = np.asarray(noise.draw(jax.random.key(2), error, error)) - 0.2
    assert drawn.std() == pytest.approx(0.3, rel=0.02)
    found = pixel_correlation(drawn, reach=4)
    y, x = np.indices((9, 9)) - 4.0
    expected = 0.8 * np.asarray(correlation.at(jnp.asarray(x), jnp.asarray(y)))
    expected[4, 4] = 1.0
    np.testing.assert_allclose(found, expected, atol=0.03)
    # whitened, nothing is left
    every = jnp.ones(error.shape, bool)
    white = noise.residuals(jnp.asarray(drawn), 0.0 * error, error, every).reshape(error.shape)
    left = pixel_correlation(white, reach=2).ravel()
    np.testing.assert_allclose(np.delete(left, 12), 0.0, atol=0.02)
    assert float(jnp.std(white)) == pytest.approx(1.0, rel=0.02)


def test_single_precision(pixels):
    noise = CorrelatedNoise(MaternCorrelation(4.0), 0.01)
    expected = float(noise.log_likelihood(*pixels))
    with jax.enable_x64(False):
        single = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, np.float32)), noise)
        arrays = [jnp.asarray(np.asarray(a)) for a in pixels]
        found = single.log_likelihood(*arrays)
        assert found.dtype == jnp.float32
    assert float(found) == pytest.approx(expected, rel=1e-3)


def simulated(noise, key=0, error=0.02):
    scene = factories.make_scene(noise=noise)
    return scene, grater.Observation.simulate(scene, error, jax.random.key(key)).mask_radius(1.0)


def test_a_posterior_prepares_it_once():
    scene, observation = simulated(CorrelatedNoise(MaternCorrelation(1.5), 0.2))
    priors = {"disk.flux": (0.1, 5.0), "noise.scale": (0.3, 3.0)}
    fixed = Posterior(scene, observation.log_likelihood, priors)
    free = Posterior(scene, observation.log_likelihood, priors | {"noise.length": (0.3, 5.0)})
    for posterior in (fixed, free):
        (plan,) = posterior.log_likelihood.__self__.plans
        assert isinstance(plan.known, Patterns) == (posterior is free)
        values = {name: 1.1 * value for name, value in posterior.initial.items()}
        model = posterior.model_at(values)
        expected = observation.log_likelihood(model)
        np.testing.assert_allclose(posterior.log_likelihood_of(model), expected, rtol=1e-11)
        for name in ("residuals", "log_normalization"):
            found = getattr(posterior, name)(model)
            np.testing.assert_allclose(found, getattr(observation, name)(model), atol=1e-11)
        # a gradient, by the length too
        u = posterior.unconstrain(values)
        log_density = jax.jit(jax.value_and_grad(lambda u, of=posterior: of.log_density(u)))
        slope = log_density(u)[1]
        steps = 1e-6 * np.eye(len(u))
        differences = [
            (log_density(u + step)[0] - log_density(u - step)[0]) / 2e-6 for step in steps
        ]
        np.testing.assert_allclose(slope, differences, rtol=1e-5, atol=1e-4)
    # a link may change it as well
    linked = {"noise.length": lambda scene: 1.5 * scene.disk.flux}
    posterior = Posterior(scene, observation.log_likelihood, priors, linked)
    assert isinstance(posterior.log_likelihood.__self__.plans[0].known, Patterns)
    # nothing is prepared for independent pixels
    white = Posterior(scene.set({"noise": GaussianNoise()}), observation.log_likelihood, priors)
    assert white.log_likelihood.__self__ is observation


def test_what_was_prepared_for_other_pixels_is_not_used():
    scene, observation = simulated(CorrelatedNoise(MaternCorrelation(1.5), 0.2))
    posterior = Posterior(scene, observation.log_likelihood, {"disk.flux": (0.1, 5.0)})
    owner = posterior.log_likelihood.__self__
    fewer = observation.with_mask(observation.radius > 3.0)
    stale = eqx.tree_at(lambda prepared: prepared.observation, owner, fewer)
    assert np.isnan(stale.log_likelihood(scene))
    # nor for another correlation
    for name in ("length", "white"):
        assert np.isnan(posterior.log_likelihood_of(scene.set({f"noise.{name}": 0.9})))
    assert np.isfinite(posterior.log_likelihood_of(scene.set({"noise.scale": 0.9})))
    assert np.isfinite(owner.log_likelihood(scene))


def test_several_data_sets_are_prepared_together():
    scene, first = simulated(CorrelatedNoise(MaternCorrelation(1.5), 0.2))
    _, second = simulated(scene.noise, key=1)
    second = second.mask_radius(4.0)
    joint = Joint({"a": first, "b": (second, lambda scene: scene)})
    posterior = Posterior(scene, joint.log_likelihood, {"disk.flux": (0.1, 5.0)})
    expected = first.log_likelihood(scene) + second.log_likelihood(scene)
    np.testing.assert_allclose(posterior.log_likelihood_of(scene), expected, rtol=1e-11)
    inside = [part.__self__ for part in posterior.log_likelihood.__self__._likelihoods]
    assert not any(isinstance(owner.plans[0].known, Patterns) for owner in inside)


def test_starlight_under_correlated_noise_is_a_dense_gaussian():
    noise = CorrelatedNoise(MaternCorrelation(1.5), 0.2, GaussianNoise(1.2), reach=9)
    scene, plain = simulated(noise)
    y, x = np.indices(plain.shape)
    plain = plain.with_mask((abs(y - 8) < 4) & (abs(x - 8) < 4))  # all of them neighbours
    star = np.random.default_rng(4).normal(size=(2, 16, 16))
    observation = grater.Observation(
        plain.image + 0.3 * star[0],
        plain.error,
        mask=plain.mask,
        pixel_scale=0.1,
        distance=60.0,
        starlight=grater.Starlight(star, width=0.5),
    )
    used = np.asarray(observation.used)
    width = 1.2 * np.asarray(plain.error)[used]
    columns = star[:, used]
    covariance = width[:, None] * dense(noise.correlation, 0.2, used) * width[None, :]
    covariance = covariance + 0.25 * columns.T @ columns
    left = np.asarray(observation.image - scene.image())[used]
    expected = stats.multivariate_normal(np.zeros(used.sum()), covariance).logpdf(left)
    np.testing.assert_allclose(observation.log_likelihood(scene), expected, rtol=1e-9)


def test_it_is_measured_in_an_image_of_noise():
    truth = CorrelatedNoise(MaternCorrelation(1.8), 0.3, GaussianNoise(1.4))
    error = jnp.full((64, 64), 0.5)
    image = truth.draw(jax.random.key(5), 0.0 * error, error)
    found = CorrelatedNoise.measured(image.at[3, 4].set(jnp.nan), error)
    assert found.get("length") == pytest.approx(1.8, rel=0.15)
    assert found.get("white") == pytest.approx(0.3, abs=0.08)
    assert found.get("scale") == pytest.approx(1.4, rel=0.06)
    # the values are the most probable ones
    used = jnp.isfinite(image.at[3, 4].set(jnp.nan))
    best = found.log_likelihood(image, 0.0 * error, error, used)
    for path, step in (("length", 0.05), ("white", 0.02), ("scale", 0.02)):
        for sign in (1, -1):
            other = found.set({path: found.get(path) + sign * step})
            assert other.log_likelihood(image, 0.0 * error, error, used) < best


def test_units_of_a_noise_image_agree():
    image, error = np.random.default_rng(0).normal(size=(2, 9, 9))
    error = 1.0 + error**2
    expected = noise_image("here", image, error, None)[0]
    for one, other in ((u.mJy, u.mJy), (u.mJy, u.Jy), (u.Jy, u.mJy)):
        found, _ = noise_image("here", image * one, (error * one).to(other), None)
        np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(noise_image("here", image * u.mJy, error, None)[0], expected)
    with pytest.raises(TypeError, match="here: error is in mJy, but the image has no unit: give"):
        noise_image("here", image, error * u.mJy, None)
    with pytest.raises(TypeError, match=r"here: error .* cannot be converted to unit 'mJy'"):
        noise_image("here", image * u.mJy, error * u.s, None)


def test_measured_correlations():
    table = pixel_correlation(np.tile([1.0, -1.0], (4, 4)), reach=2)
    np.testing.assert_allclose(table, table[::-1, ::-1], atol=1e-12)
    np.testing.assert_allclose(table[2], [1, -1, 1, -1, 1], atol=1e-12)
    # as scipy counts the pairs
    rng = np.random.default_rng(6)
    image, mask = rng.normal(size=(12, 9)), rng.random((12, 9)) < 0.7
    found = pixel_correlation(image, 2.0, mask, reach=3)
    for x, y in ((1, 0), (0, 3), (2, -1)):
        pairs = [
            image[i, j] * image[i + y, j + x]
            for i in range(12)
            for j in range(9)
            if 0 <= i + y < 12 and 0 <= j + x < 9 and mask[i, j] and mask[i + y, j + x]
        ]
        assert found[3 + y, 3 + x] == pytest.approx(np.mean(pairs) / np.mean(image[mask] ** 2))


def test_a_table_that_is_no_covariance_becomes_one():
    odd = np.ones((3, 3))  # a box has negative powers
    kept = TableCorrelation(TABLE)
    y, x = (jnp.asarray(values, float) for values in np.indices((6, 6)).reshape(2, -1))
    lags = x[:, None] - x[None, :], y[:, None] - y[None, :]
    for table in (TableCorrelation(odd), kept):
        assert np.linalg.eigvalsh(np.asarray(table.at(*lags))).min() > -1e-10
    # one that is stays what it is, up to its size
    np.testing.assert_allclose(np.asarray(kept.at(*lags))[0, 1], 0.5, atol=0.02)
    assert abs(float(kept.at(jnp.asarray(50.0), jnp.asarray(0.0)))) < 1e-12


def test_frames_have_independent_pixels():
    noise = CorrelatedNoise(MaternCorrelation(1.5), 0.2)
    scene = factories.make_scene(noise=noise)
    frames = grater.FrameSequence(
        np.ones((2, 16, 16)), 1.0, angles=[0.0, 9.0], pixel_scale=0.1, distance=60.0
    )
    with pytest.raises(TypeError, match="not for a sequence of frames"):
        frames.log_likelihood(scene)
    with pytest.raises(TypeError, match="observation is a FrameSequence"):
        grater.residual_correlation(scene, frames)
    with pytest.raises(TypeError, match="observation is a FrameSequence"):
        grater.plot_fit(scene, frames)


def test_a_fit_says_where_the_neighbours_are_too_few():
    scene, observation = simulated(CorrelatedNoise(MaternCorrelation(6.0), 0.5, reach=1))
    assert "take a larger reach" in observation.remark(scene)
    posterior = Posterior(scene, observation.log_likelihood, {"disk.flux": (0.1, 5.0)})
    assert "take a larger reach" in posterior.remark(posterior.initial)
    assert observation.remark(scene.set({"noise": GaussianNoise()})) == ""


BAD = [
    (lambda: MaternCorrelation(0.0), "length"),
    (lambda: CorrelatedNoise(1.5), "CorrelatedNoise.correlation"),
    (lambda: CorrelatedNoise(MaternCorrelation(1.0), 1.2), "white"),
    (lambda: CorrelatedNoise(MaternCorrelation(1.0), reach=0), "reach"),
    (lambda: CorrelatedNoise(MaternCorrelation(1.0), noise=3.0), "CorrelatedNoise.noise"),
    (lambda: TableCorrelation(np.ones((4, 4))), "lags"),
    (lambda: TableCorrelation(np.full((3, 3), np.nan)), "finite"),
    (lambda: TableCorrelation([[1, 0, 0], [0, 1, 0], [0, 0, 0]]), "symmetric"),
    (lambda: pixel_correlation(np.zeros((4, 4))), "is 0 in all pixels"),
    (lambda: pixel_correlation(np.ones((4, 4)), -1.0), "error must be > 0"),
    (lambda: pixel_correlation(np.ones(4)), "image"),
    (lambda: CorrelatedNoise.measured(np.ones((4, 4)), mask=np.zeros((4, 4), bool)), "none is"),
]


@pytest.mark.parametrize(("make", "says"), BAD)
def test_bad_input(make, says):
    with pytest.raises((ValueError, TypeError), match=says):
        make()


def test_residuals_and_their_figure():
    scene, observation = simulated(CorrelatedNoise(MaternCorrelation(2.0), 0.1), error=1.0)
    right = grater.residual_correlation(scene, observation, reach=3)
    wrong = grater.residual_correlation(scene.set({"noise": GaussianNoise()}), observation, 3)
    assert min(wrong[3, 4], wrong[2, 3]) > 0.4
    assert max(abs(right[3, 4]), abs(right[2, 3])) < 0.2
    figure = grater.plot_correlation({"independent": wrong, "correlated": right})
    *maps, curve = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    assert [ax.get_title() for ax in maps] == ["independent", "correlated"]
    steep = curve.lines[0].get_ydata()
    np.testing.assert_allclose(steep[:2], [1.0, wrong[3, 4]], rtol=0.3)
    with pytest.raises(ValueError, match="Gaussian"):
        grater.residual_correlation(scene.set({"noise": grater.StudentTNoise()}), observation)
    with pytest.raises(ValueError, match="shape"):
        grater.plot_correlation(np.ones((2, 3)))
