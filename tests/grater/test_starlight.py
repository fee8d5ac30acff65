"""Starlight whose coefficients are integrated out: dense Gaussians, least squares, a simulation."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal

import grater
from factories import make_disk
from grater import Observation, Starlight
from pytreefit import Joint, Model, Posterior, fit, laplace, load, param, save

SHAPE = 7, 9
SETUP = {"pixel_scale": 0.05, "distance": 60.0}
RNG = np.random.default_rng(11)
IMAGE = RNG.normal(size=SHAPE) + 3.0
ERROR = RNG.uniform(0.5, 1.5, SHAPE)
REFERENCES = RNG.normal(size=(3, *SHAPE)) + 5.0
MASK = RNG.uniform(size=SHAPE) > 0.2
PROFILE = RNG.normal(size=SHAPE)
IMAGE[1, 2] = np.nan
REFERENCES[1, ~MASK] = np.nan
USED = MASK & np.isfinite(IMAGE)
SCALE, LEVEL = 1.3, 0.7


class Profile(Model):
    """A scene whose image is a number times a picture."""

    level: jax.Array = param(default=LEVEL)
    noise: Model = grater.GaussianNoise(SCALE)

    def image(self):
        return self.level * jnp.asarray(PROFILE, float)


def observed(*, references=REFERENCES, **how):
    light = Starlight(references, **how)
    return Observation(IMAGE, ERROR, mask=MASK, starlight=light, **SETUP)


def whitened(extra=()):
    """Residuals and columns over the noise, by NumPy."""
    columns = np.stack([*REFERENCES, *extra])[:, USED]
    width = SCALE * ERROR[USED]
    return (IMAGE - LEVEL * PROFILE)[USED] / width, (columns / width).T


# --- the likelihood ---


@pytest.mark.parametrize("width", [0.4, [0.3, 2.0, 0.01]])
def test_coefficients_with_a_prior_are_correlated_noise(width):
    columns = REFERENCES[:, USED]
    variances = np.broadcast_to(np.square(width), 3)
    covariance = np.diag((SCALE * ERROR[USED]) ** 2) + (columns.T * variances) @ columns
    expected = multivariate_normal(cov=covariance).logpdf((IMAGE - LEVEL * PROFILE)[USED])
    data = observed(width=width)
    assert float(data.log_likelihood(Profile())) == pytest.approx(expected, rel=1e-11)
    residuals, normalization = (f(Profile()) for f in (data.residuals, data.log_normalization))
    total = np.sum(normalization) - 0.5 * np.sum(np.square(residuals))
    assert total == pytest.approx(expected, rel=1e-11)


def test_a_flat_prior_is_the_integral():
    columns = REFERENCES[0]
    data = observed(references=columns)
    width = SCALE * ERROR[USED]
    best = float(data.best_starlight(Profile()).coefficients[0])

    def density(c):
        r = (IMAGE - LEVEL * PROFILE - c * columns)[USED] / width
        return np.exp(-0.5 * (r @ r) + 60.0)

    integral = np.log(quad(density, best - 1.0, best + 1.0, points=[best], epsrel=1e-10)[0])
    expected = integral - 60.0 - np.sum(np.log(width)) - 0.5 * USED.sum() * np.log(2.0 * np.pi)
    assert float(data.log_likelihood(Profile())) == pytest.approx(expected, rel=1e-9)


def test_a_flat_prior_is_the_limit_of_a_wide_one():
    wide = 1e5
    flat = float(observed().log_likelihood(Profile()))
    infinite = float(observed(width=np.inf).log_likelihood(Profile()))
    limit = float(observed(width=wide).log_likelihood(Profile()))
    assert infinite == pytest.approx(flat, rel=1e-12)
    assert limit + 3.0 * np.log(wide * np.sqrt(2.0 * np.pi)) == pytest.approx(flat, rel=1e-7)


def test_residuals_are_those_of_least_squares():
    y, x = np.indices(SHAPE)
    r, columns = whitened([np.ones(SHAPE), x - 4.0, y - 3.0])
    coefficients = np.linalg.lstsq(columns, r)[0]
    data = observed(constant=True, slope=True)
    residuals = np.asarray(data.residuals(Profile())).reshape(SHAPE)
    np.testing.assert_allclose(residuals[USED], r - columns @ coefficients, atol=1e-12)
    np.testing.assert_allclose(residuals[~USED], 0.0, atol=1e-14)
    squares = np.sum(residuals**2)
    assert float(data.chi_square(Profile())) == pytest.approx(SCALE**2 * squares)
    freedom = USED.sum() - 6 - 2
    reduced = data.reduced_chi_square(Profile(), n_free=2)
    assert float(reduced) == pytest.approx(SCALE**2 * squares / freedom)

    found = data.best_starlight(Profile())
    assert found.names[3:] == ("constant", "slope in x", "slope in y")
    np.testing.assert_allclose(found.coefficients, coefficients, rtol=1e-10)
    covariance = np.linalg.inv(columns.T @ columns)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-8, atol=1e-14)
    everywhere = np.stack([*REFERENCES, np.ones(SHAPE), x - 4.0, y - 3.0])
    light = np.tensordot(coefficients, everywhere, 1)
    np.testing.assert_allclose(found.image, light, rtol=1e-9, atol=1e-12)
    variance = np.einsum("kyx,kl,lyx->yx", everywhere, covariance, everywhere)
    np.testing.assert_allclose(found.error, np.sqrt(variance), rtol=1e-8)
    rest = data.without_starlight(Profile())
    np.testing.assert_allclose((IMAGE - light)[USED], np.asarray(rest.image)[USED], rtol=1e-9)
    assert rest.starlight is None


def test_a_prior_draws_coefficients_to_zero():
    r, columns = whitened()
    width = np.array([0.01, 0.1, np.inf])
    normal = columns.T @ columns + np.diag(width**-2.0)
    found = observed(width=width).best_starlight(Profile())
    np.testing.assert_allclose(found.coefficients, np.linalg.solve(normal, columns.T @ r))
    np.testing.assert_allclose(found.covariance, np.linalg.inv(normal), rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("how", [{"constant": True}, {"width": 0.3}])
def test_derivatives(how):
    """First and second, by the level of the disk and by the scale of the noise."""
    data = observed(**how)

    def value(u):
        return data.log_likelihood(Profile(u[0], grater.GaussianNoise(u[1])))

    u, step = np.array([LEVEL, SCALE]), 1e-5
    gradient = jax.jit(jax.grad(value))
    moves = step * np.eye(2)
    slopes = [(value(u + d) - value(u - d)) / (2.0 * step) for d in moves]
    np.testing.assert_allclose(gradient(u), slopes, rtol=1e-7)
    curvature = [(gradient(u + d) - gradient(u - d)) / (2.0 * step) for d in moves]
    np.testing.assert_allclose(jax.hessian(value)(u), curvature, rtol=1e-6)


def test_the_scale_of_the_noise_counts_the_coefficients():
    """With a level that is fitted the best is a closed form, and so is its error."""
    data = observed(constant=True)
    priors = {"level": (-50.0, 50.0), "noise.scale": (0.05, 20.0)}
    posterior = Posterior(Profile(), data.log_likelihood, priors)
    best = fit(posterior, progress=False)
    r, columns = whitened([np.ones(SHAPE), PROFILE])
    rest = r - columns @ np.linalg.lstsq(columns, r)[0]
    squares, freedom = SCALE**2 * rest @ rest, USED.sum() - 4
    scale = np.sqrt(squares / freedom)
    assert float(best.values["noise.scale"]) == pytest.approx(scale, rel=1e-5)
    around = laplace(posterior, best, method="fisher")
    error = float(around.std["noise.scale"])
    assert error == pytest.approx(scale / np.sqrt(2.0 * freedom), rel=1e-4)


def test_single_precision():
    """Bright references that are nearly the same: residuals right to a part of the noise."""
    star = 1e3 * RNG.uniform(1.0, 2.0, SHAPE)
    images = star * (1.0 + 0.01 * RNG.normal(size=(3, *SHAPE)))
    image = images.sum(0) / 3.0 + ERROR * RNG.normal(size=SHAPE)
    both = []
    for double in (False, True):
        with jax.enable_x64(double):
            data = Observation(image, ERROR, starlight=Starlight(images), **SETUP)
            scene = Profile(0.0, grater.GaussianNoise(SCALE))
            both.append(np.asarray(data.residuals(scene), float))
    np.testing.assert_allclose(*both, atol=5e-3)


@pytest.mark.parametrize("width", [None, 0.1])
@pytest.mark.parametrize(
    ("of_references", "of_image"),
    [(1e20, 1e20), (1e-20, 1e-20), (1e-30, 1e-30), (1e20, 1.0), (1e-30, 1.0)],
)
def test_units_of_any_size_in_single_precision(of_references, of_image, width):
    relative = of_references / of_image

    def found(of_references, of_image, width):
        light = Starlight(of_references * np.nan_to_num(REFERENCES), width=width)
        image, error = of_image * IMAGE, of_image * ERROR
        data = Observation(image, error, mask=USED, starlight=light, **SETUP)

        def value(scale):
            scene = Profile(0.0, grater.GaussianNoise(scale))
            return data.log_likelihood(scene)

        slope = jax.jit(jax.grad(value))(SCALE)
        best = data.best_starlight(Profile(0.0, grater.GaussianNoise(SCALE)))
        image, error = (np.asarray(map_, float) / of_image for map_ in (best.image, best.error))
        return value(SCALE), slope, best.coefficients, image, error, data

    expected = found(1.0, 1.0, width)
    with jax.enable_x64(False):
        own = None if width is None else width / relative
        value, slope, coefficients, image, error, data = found(of_references, of_image, own)
        assert data.image.dtype == coefficients.dtype == jnp.float32
    shift = -USED.sum() * np.log(of_image)
    if width is None:
        shift -= 3.0 * np.log(relative)
    np.testing.assert_allclose(value, expected[0] + shift, rtol=1e-5)
    np.testing.assert_allclose(slope, expected[1], rtol=1e-4)
    np.testing.assert_allclose(np.asarray(coefficients, float) * relative, expected[2], rtol=1e-4)
    np.testing.assert_allclose(image, expected[3], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(error, expected[4], rtol=1e-4)
    assert np.all(error[USED] > 0.0)


# --- with what it is used ---


def test_another_observation_compiles_nothing():
    traces = []

    @eqx.filter_jit
    def value(data, scene):
        traces.append(1)
        return data.log_likelihood(scene)

    first = observed(constant=True)
    second = first.set({"starlight.references": 2.0 * REFERENCES, "error": 2.0 * ERROR})
    assert float(value(first, Profile())) != float(value(second, Profile()))
    assert len(traces) == 1
    images = jnp.stack([first.image, 2.0 * first.image])
    many = jax.vmap(lambda image: first.with_image(image).log_likelihood(Profile()))(images)
    assert float(many[0]) == pytest.approx(float(first.log_likelihood(Profile())))


def test_a_crop_cuts_the_references_too():
    light = Starlight(REFERENCES, constant=True, slope=True)
    image = np.nan_to_num(IMAGE, nan=1.0)
    whole = Observation(image, ERROR, mask=MASK, center=(5, 3), starlight=light, **SETUP)
    cut = whole.crop(5)
    light = Starlight(REFERENCES[:, 1:6, 3:8], constant=True, slope=True)
    window = slice(1, 6), slice(3, 8)
    fresh = Observation(image[window], ERROR[window], mask=MASK[window], starlight=light, **SETUP)

    class Nothing(Profile):
        def image(self):
            return self.level * jnp.zeros((5, 5))

    assert float(cut.log_likelihood(Nothing())) == float(fresh.log_likelihood(Nothing()))


def test_it_is_saved(tmp_path):
    data = observed(width=[1.0, 2.0, np.inf], slope=True)
    save(tmp_path / "data.npz", data)
    same = load(tmp_path / "data.npz")
    assert jax.tree.structure(same) == jax.tree.structure(data)
    assert float(same.log_likelihood(Profile())) == float(data.log_likelihood(Profile()))


def test_joint_likelihoods_add_up():
    one, two = observed(), observed(constant=True)
    joint = Joint({"a": one, "b": two})
    expected = sum(float(data.log_likelihood(Profile())) for data in (one, two))
    assert float(joint.log_likelihood(Profile())) == pytest.approx(expected, rel=1e-13)
    assert joint.residuals(Profile()).shape == (2 * IMAGE.size,)


@pytest.mark.parametrize("noise", [grater.StudentTNoise(1.0), grater.PoissonNoise(1.0)])
def test_the_noise_has_to_be_gaussian(noise):
    with pytest.raises(TypeError, match=r"is not Gaussian: Observation\.starlight needs"):
        observed().log_likelihood(Profile(noise=noise))


ONES = np.ones((1, *SHAPE))
HOLE = REFERENCES.copy()
HOLE[2, 3, 4] = np.inf
assert USED[3, 4]


@pytest.mark.parametrize(
    ("light", "message"),
    [
        (lambda: Starlight(), "Starlight has no references, constant or slope"),
        (lambda: Starlight([]), "references has shape (0, 0, 0)"),
        (lambda: Starlight(np.ones((1, 2, 3, 4))), "references has shape (1, 2, 3, 4); images"),
        (lambda: Starlight([np.ones((2, 3)), np.ones((3, 2))]), "references[1] has shape (3, 2)"),
        (lambda: Starlight(REFERENCES, width=0.0), "width = 0.0 must be > 0"),
        (lambda: Starlight(REFERENCES, width=[1.0, 2.0]), "width has shape (2,); a number or"),
        (lambda: Starlight(None, width=1.0, constant=True), "one for each of the 0 references"),
        (lambda: Starlight(np.ones((2, 4, 4))), "references of shape (4, 4), the image has (7, 9)"),
        (lambda: Starlight(HOLE), "reference 2 is not finite in 1 of the"),
        (lambda: Starlight([ONES[0], 0.0 * ONES[0]]), "reference 1 is 0 in all pixels in use"),
        (lambda: Starlight(ONES, constant=True), "is a sum of multiples of the others"),
        (lambda: Starlight([*REFERENCES, REFERENCES.sum(0)]), "is a sum of multiples of the oth"),
        (lambda: Starlight(RNG.normal(size=(63, *SHAPE))), "has 63 coefficients for"),
    ],
)
def test_what_cannot_be_used_is_refused(light, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Observation(IMAGE, ERROR, mask=USED, starlight=light(), **SETUP)


def test_a_pixel_of_a_huge_error_tells_no_references_apart():
    twice = np.stack([ONES[0], ONES[0]])
    twice[1, 3, 4] = 1e3
    with jax.enable_x64(False):
        light = Starlight(twice)
        Observation(IMAGE, ERROR, mask=USED, starlight=light, **SETUP)
        error = ERROR.copy()
        error[3, 4] = 1e12
        with pytest.raises(ValueError, match=r"reference \d is a sum .* weighted by their errors"):
            Observation(IMAGE, error, mask=USED, starlight=light, **SETUP)


@pytest.mark.parametrize(("precise", "wide", "narrow"), [(False, 1e6, 10.0), (True, 1e15, 1e6)])
def test_equal_references_need_a_prior_that_counts(precise, wide, narrow):
    twice = np.stack([REFERENCES[0], REFERENCES[0]])
    with jax.enable_x64(precise):
        with pytest.raises(ValueError, match="or give the coefficients a narrower prior"):
            observed(references=twice, width=wide)
        scene = Profile(0.0, grater.GaussianNoise(SCALE))
        found = observed(references=twice, width=narrow).best_starlight(scene)
    one = observed(references=twice[:1], width=narrow * np.sqrt(2.0)).best_starlight(Profile(0.0))
    total = np.sum(np.asarray(found.coefficients, float))
    assert total == pytest.approx(float(one.coefficients[0]), rel=1e-4)
    # what the data do not tell is the prior's: of the difference
    difference = np.array([1.0, -1.0]) @ np.asarray(found.covariance, float) @ [1.0, -1.0]
    assert difference == pytest.approx(2.0 * narrow**2, rel=1e-2)


def test_more_references_than_pixels_with_a_prior():
    many = RNG.normal(size=(70, *SHAPE))
    data = observed(references=many, width=0.1)
    columns = many[:, USED]
    covariance = np.diag((SCALE * ERROR[USED]) ** 2) + 0.01 * columns.T @ columns
    expected = multivariate_normal(cov=covariance).logpdf((IMAGE - LEVEL * PROFILE)[USED])
    assert float(data.log_likelihood(Profile())) == pytest.approx(expected, rel=1e-10)


def test_collinear_references_have_a_best_fit_with_a_prior():
    data = observed(references=ONES, width=1.0, constant=True)
    assert np.isfinite(float(data.log_likelihood(Profile())))
    with pytest.raises(ValueError, match=r"(constant|reference 0) is a sum"):
        data.set({"starlight.width": np.inf})
    with pytest.raises(ValueError, match="has no starlight"):
        data.set({"starlight": None}).best_starlight(Profile())


# --- a disk under starlight ---


@pytest.fixture(scope="module")
def simulated():
    """A ring, three times as faint as the star's light, and two references that are not the same.

    The references have speckles of their own; the star's image is a mixture of them.
    """
    grid = grater.Grid((31, 31), 0.1, 60.0)
    view = {"grid": grid, "psf": grater.GaussianPSF(2.5), "accuracy": 1e-3}
    truth = grater.Scene(make_disk(semi_major_axis=40.0, flux=1e4), nodes_on="surfaces", **view)
    model = np.asarray(truth.image())
    rng = np.random.default_rng(5)
    y, x = np.indices(model.shape) - 15
    halo = 3.0 * model.max() * np.exp(-np.hypot(x, y) / 6.0)
    references = halo * (1.0 + 0.4 * rng.normal(size=(3, *model.shape)))
    noise = 0.02 * model.max()
    image = model + np.tensordot([0.5, 0.2, 0.4], references, 1) + 0.1 * model.max()
    image += rng.normal(0.0, noise, model.shape)
    data = Observation(
        image,
        noise,
        pixel_scale=0.1,
        distance=60.0,
        starlight=Starlight(references, constant=True),
    )
    return truth, data.mask_radius(2.0)


def test_a_factor_for_the_flux_is_least_squares(simulated):
    truth, data = simulated
    used = np.asarray(data.used)
    columns = np.stack([*np.asarray(data.starlight.references), np.ones(data.shape), truth.image()])
    expected = np.linalg.lstsq(columns[:, used].T, np.asarray(data.image)[used])[0][-1]
    found = data.scaled_to_data(truth.set({"disk.flux": 7.0})).get("disk.flux")
    assert float(found) == pytest.approx(expected * 1e4, rel=1e-9)
    views = grater.Scene(
        truth.disk, view={"a": truth.view, "b": truth.view.set({"grid.roll": 9.0})}
    )
    named = data.set({"view": "a"}).scaled_to_data(views).get("disk.flux")
    assert float(named) == pytest.approx(float(found), rel=1e-9)


def test_classical_subtraction_biases_the_fit_and_this_does_not(simulated):
    """The references take up light of the disk: what is left of it looks another disk."""
    truth, data = simulated
    priors = {
        "disk.flux": (1e3, 3e4),
        "disk.semi_major_axis": (25.0, 60.0),
        "disk.inclination": (40.0, 80.0),
    }
    true = np.array([float(truth.get(name)) for name in priors])
    start = truth.set({"disk.inclination": 57.0, "disk.semi_major_axis": 41.0})
    subtracted = data.without_starlight(truth.set({"disk.flux": 0.0}))
    off = []
    for observation in (data, subtracted):
        posterior = Posterior(start, observation.log_likelihood, priors)
        best = fit(posterior, progress=False)
        assert best.converged
        found = np.array([float(best.values[name]) for name in priors])
        around = laplace(posterior, best, method="fisher")
        deviation = np.array([float(around.std[name]) for name in priors])
        off.append((found - true) / deviation)
    honest, classical = np.abs(off)
    assert np.max(honest) < 3.0
    assert np.max(classical) > 10.0
    assert off[1][0] < -5.0  # less light
