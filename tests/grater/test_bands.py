"""One disk in several bands: images, fits and colours."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import factories
import grater
from grater import Band, Bands, HenyeyGreenstein
from pytreefit import Joint, Posterior, sample
from pytreefit.extend import rebuild

H, K = HenyeyGreenstein(0.1), HenyeyGreenstein(0.6)


def make_bands(normalization="sphere"):
    phase = Bands({"K": Band(K, 0.5), "H": H})
    disk = rebuild(factories.make_disk(phase=phase), {"phase_normalization": normalization})
    channels = {
        "H": grater.Channel(grater.GaussianPSF(2.0), curve="H"),
        "K": grater.Channel(grater.GaussianPSF(3.0), curve="K"),
    }
    return grater.Scene(disk, grid=factories.GRID, channel=channels)


@pytest.mark.parametrize("normalization", ["sphere", "right_angle"])
def test_each_band_is_the_disk_with_its_own_phase_function(normalization):
    scene = make_bands(normalization)
    images = scene.images()
    assert list(images) == ["H", "K"]
    for name, phase, flux, fwhm in (("H", H, 1.0, 2.0), ("K", K, 0.5, 3.0)):
        alone = factories.make_disk(phase=phase, flux=flux)
        alone = rebuild(alone, {"phase_normalization": normalization})
        expected = grater.Scene(alone, grid=factories.GRID, psf=grater.GaussianPSF(fwhm)).image()
        np.testing.assert_allclose(images[name], expected, atol=1e-3 * float(jnp.max(expected)))
    ratio = np.asarray(scene.set({"disk.phase.bands.K.brightness": 1.5}).images()["K"])
    np.testing.assert_allclose(ratio, 3.0 * np.asarray(images["K"]), rtol=1e-9)


def test_bands_of_polarised_light_have_curves_of_their_own():
    phase = Bands({"H": grater.Polarized(H, 0.4), "K": grater.Polarized(K, 0.3)})
    cosine = jnp.linspace(-0.9, 0.9, 5)
    names = ("K.total", "H.polarized", "K", "H.total")
    found = phase.curves(names)(cosine)
    bell = (1.0 - cosine**2) / (1.0 + cosine**2)
    expected = K(cosine), 0.4 * bell * H(cosine), 0.3 * bell * K(cosine), H(cosine)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    assert phase.factors(names, "sphere").shape == (4,)


def test_derivatives_by_the_bands_parameters():
    scene = make_bands()
    paths = ["disk.phase.bands.K.brightness", "disk.phase.bands.H.g", "disk.inclination"]
    weight = np.random.default_rng(0).normal(size=(2, 16, 16))

    def value(values):
        images = scene.set(dict(zip(paths, values, strict=True))).images()
        return sum(jnp.sum(w * images[name]) for w, name in zip(weight, ("H", "K"), strict=True))

    at = jnp.asarray([0.5, 0.1, 60.0])
    slope = jax.jit(jax.grad(value))(at)
    for k, step in enumerate((1e-4, 1e-4, 1e-3)):
        e = step * np.eye(3)[k]
        difference = (value(at + e) - value(at - e)) / (2.0 * step)
        np.testing.assert_allclose(slope[k], difference, rtol=2e-3)


@pytest.fixture(scope="module")
def samples():
    """Draws for two bands on pixels of their own, from noise of a known size."""
    disk = make_bands().disk
    grids = {"H": factories.GRID, "K": grater.Grid((20, 20), 0.08, 60.0)}
    views = {
        name: grater.View(grid, psf=grater.GaussianPSF(2.0), curve=name, nodes_on="surfaces")
        for name, grid in grids.items()
    }
    scene = grater.Scene(disk, view=views)
    error = 0.05 * float(jnp.max(scene.of("H").image()))
    data = {
        name: grater.Observation(
            scene.of(name).image() + error * np.random.default_rng(k).normal(size=grid.shape),
            error,
            pixel_scale=grid.pixel_scale,
            distance=60.0,
            view=name,
        )
        for k, (name, grid) in enumerate(grids.items())
    }
    priors = {"disk.flux": (0.5, 2.0), "disk.phase.bands.K.brightness": (0.1, 2.0)}
    posterior = Posterior(scene, Joint(data).log_likelihood, priors)
    options = {"chains": 2, "warmup": 60, "draws": 100, "progress": False}
    return sample(posterior, jax.random.key(0), **options)


def test_colours_are_ratios_of_brightness(samples):
    found = grater.colors(samples)
    draws = np.asarray(samples.draws["disk.phase.bands.K.brightness"]).ravel()
    assert found.names == ("K - H",)
    np.testing.assert_allclose(found.draws[:, 0], -2.5 * np.log10(draws), atol=1e-12)
    np.testing.assert_allclose(found.mean, [-2.5 * np.log10(0.5)], atol=5 * draws.std() / 0.5)
    np.testing.assert_allclose(found.covariance, [[found.draws.var(ddof=1)]])
    other = grater.colors(samples, reference="K")
    assert other.names == ("H - K",)
    np.testing.assert_allclose(other.draws, -found.draws, atol=1e-12)
    assert "K - H" in str(found.table())
    with pytest.raises(ValueError, match="reference"):
        grater.colors(samples, reference="J")
    with pytest.raises(TypeError, match="Bands"):
        grater.colors(samples, "disk.radial")


def test_all_phase_functions_in_one_figure(samples):
    for source in (samples, make_bands()):
        (ax,) = grater.plot_phase_function(source).axes
        labels = [text.get_text() for text in ax.get_legend().get_texts()]
        assert any(label.startswith("H") for label in labels)
        assert any(label.startswith("K") for label in labels)
        assert "not probed" in labels


def test_a_view_has_to_say_which_band():
    disk = make_bands().disks[0]
    with pytest.raises(TypeError, match=r'only H, K: say which one .* curve="H"'):
        grater.Scene(disk, grid=factories.GRID).image()
    with pytest.raises(TypeError, match="no band 'J'"):
        grater.Scene(disk, grid=factories.GRID, curve="J").image()
    with pytest.raises(TypeError, match="no curve of its own"):
        disk.phase(jnp.zeros(3))
    # what needs any of the curves takes the first
    error = eqx.filter_jit(grater.Disk.integration_error)
    assert float(error(disk, jnp.ones(3), jnp.ones(3), grater.Rule(1e-3))) < 1e-2


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Bands({}), "must be a dictionary"),
        (lambda: Bands([H, K]), "must be a dictionary"),
        (lambda: Bands({"H": 0.3}), r"Bands.bands\['H'\]"),
        (lambda: Bands({"H.total": H}), "without a dot"),
        (lambda: Bands({"H": Bands({"H": H})}), r"Bands.bands\['H'\]"),
        (lambda: Band(Bands({"H": H})), "has bands already"),
        (lambda: Band(0.3), "Band.phase"),
        (lambda: grater.Polarized(Bands({"H": H})), "give each band a Polarized"),
        (lambda: Band(H, 0.0), "brightness"),
    ],
)
def test_bad_input(make, says):
    with pytest.raises((ValueError, TypeError), match=says):
        make()
