"""Total and polarised intensity of the same dust: integrated at once, fitted together."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import grater
from pytreefit import Posterior, fit, load, map_models, save, vary

from .conftest import reference_scene

GRID = grater.Grid((32, 32), 0.0566, 72.8)


def disk(phase=None, **changes):
    values = dict(
        semi_major_axis=40.0,
        inclination=63.0,
        position_angle=25.0,
        alpha_in=6.0,
        alpha_out=-4.0,
        scale_height=2.0,
        flux=30.0,
    )
    phase = grater.Polarized(grater.HenyeyGreenstein(0.4), 0.3) if phase is None else phase
    return grater.Disk(**{**values, **changes}, phase=phase)


def scene(of=None, **changes):
    return grater.Scene(disk() if of is None else of, **{"grid": GRID, "accuracy": 1e-8, **changes})


def both(of=None, total=None, polarized=None, **changes):
    """A scene of both intensities, through channels that differ by what is given."""
    channel = {
        "total": grater.Channel(curve="total", **(total or {})),
        "polarized": grater.Channel(curve="polarized", **(polarized or {})),
    }
    return scene(of, channel=channel, **changes)


def stacked(scene):
    images = scene.images()
    return jnp.stack([images["total"], images["polarized"]])


def joint(total, polarized):
    return grater.JointObservation({"total": total, "polarized": polarized})


def observation(image, error=1e-3, **changes):
    setup = {"pixel_scale": GRID.pixel_scale, "distance": GRID.distance, **changes}
    return grater.Observation(image, error, **setup).mask_radius(inner=1.5)


def check_alike(images, expected, error):
    assert np.shape(images) == (2, *np.shape(expected[0]))
    for image, other in zip(images, expected, strict=True):
        np.testing.assert_allclose(image, other, atol=error * np.max(other))


@pytest.fixture(scope="module")
def separate():
    """Both images by scenes of their own."""
    total = scene(disk(grater.HenyeyGreenstein(0.4))).image()
    return np.asarray(total), np.asarray(scene().image())


def test_both_images_are_those_of_two_scenes(separate):
    check_alike(stacked(both()), separate, 1e-7)


def test_the_reference(reference):
    case, truth = reference["i70_polarised"]
    polarized = reference_scene(case, 1e-4)
    total = polarized.set({"disk.phase": polarized.disk.phase.phase})
    seen = truth > 0
    found = stacked(both(polarized.disk, grid=polarized.grid, accuracy=1e-4))
    check_alike(np.where(seen, found, 0.0), [np.where(seen, total.image(), 0.0), truth], 1e-4)


def test_edge_on_with_more_points_per_pixel():
    """Where segments are the rule, which `image` finds by trying."""
    steep = dict(inclination=89.0, gamma=1.0)
    fine = dict(accuracy=1e-6, oversample=2)
    polarized = scene(disk(**steep), **fine)
    total = scene(disk(grater.HenyeyGreenstein(0.4), **steep), **fine)
    check_alike(stacked(both(disk(**steep), **fine)), [total.image(), polarized.image()], 3e-6)


def test_without_any_polarised_light():
    total, polarized = stacked(both(disk(grater.Polarized(grater.Isotropic(), 0.0))))
    assert np.max(total) > 0
    assert np.all(np.asarray(polarized) == 0)


def test_several_disks(separate):
    """The second one half as bright."""
    pair = both([disk(), disk(flux=15.0)])
    check_alike(stacked(pair), 1.5 * np.asarray(separate), 1e-7)
    total = pair.of("total")
    np.testing.assert_allclose(total.image(), 1.5 * separate[0], atol=2e-7 * separate[0].max())


def test_each_image_through_its_own_telescope():
    narrow, wide = (np.ones((3, n)) / (3 * n) for n in (3, 5))
    loss, mask = np.linspace(0.5, 1.0, 32 * 32).reshape(32, 32), np.eye(32)
    channels = (
        {"psf": grater.ImagePSF(wide), "throughput": loss},
        {"psf": grater.ImagePSF(narrow), "transmission": mask},
    )
    expected = [
        scene(disk(phase), **channel).image()
        for phase, channel in zip((grater.HenyeyGreenstein(0.4), None), channels, strict=True)
    ]
    through = both(None, *channels)
    check_alike(stacked(through), expected, 1e-6)
    check_alike([through.of("total").image(), through.of("polarized").image()], expected, 1e-6)


def test_the_likelihood_is_that_of_both(separate):
    rng = np.random.default_rng(1)
    total, polarized = (observation(image + rng.normal(0, 1e-3, image.shape)) for image in separate)
    polarized = polarized.with_mask(rng.uniform(size=(32, 32)) < 0.9)
    data = joint(total, polarized)
    wide = {"noise": grater.GaussianNoise(2.0)}
    alone = scene(disk(grater.HenyeyGreenstein(0.4)), **wide), scene()
    seen = both(total=wide)
    parts = list(zip((total, polarized), alone, strict=True))
    expected = sum(float(one.log_likelihood(of)) for one, of in parts)
    assert float(data.log_likelihood(seen)) == pytest.approx(expected, rel=1e-6)
    residuals = jnp.concatenate([one.residuals(of) for one, of in parts])
    np.testing.assert_allclose(data.residuals(seen), residuals, atol=1e-4)
    squares = data.log_normalization(seen) - 0.5 * data.residuals(seen) ** 2
    assert float(jnp.sum(squares)) == pytest.approx(expected, rel=1e-6)
    chi_square = sum(float(one.chi_square(of)) for one, of in parts)
    assert float(data.chi_square(seen)) == pytest.approx(chi_square, rel=1e-6)
    heavy = both(total={"noise": grater.StudentTNoise(4.0)})
    assert data.log_normalization(heavy) is None
    # each alone knows its channel
    named = total.set({"view": "total"})
    assert float(named.log_likelihood(seen)) == pytest.approx(
        float(total.log_likelihood(alone[0])), rel=1e-6
    )


def test_gradients_are_differences(separate):
    """In every number of a scene with a spline, some of which both intensities depend on."""
    data = joint(*(observation(0.5 * image) for image in separate))
    spline = grater.SplinePhase([-0.9, -0.3, 0.4, 0.9], [0.8, 0.9, 1.3, 2.0])
    of = disk(grater.Polarized(spline, 0.3), gamma=1.7, beta=0.8, phase_normalization="right_angle")
    start = both(of, {"psf": grater.GaussianPSF(2.0, 5)}, nodes_on="surfaces").set(
        {"grid.center": (16.3, 15.8)}
    )
    paths = [
        "disk.inclination",
        "disk.semi_major_axis",
        "disk.offset_y",
        "disk.radial.alpha_in",
        "disk.vertical.gamma",
        "disk.flux",
        "disk.phase.peak",
        "disk.phase.phase.values",
        "channel.total.psf.fwhm",
        "grid.center",
    ]

    @eqx.filter_jit
    def likelihood(values):
        return data.log_likelihood(start.set(values))

    values = {path: start.get(path) for path in paths}
    gradient = jax.jit(jax.grad(likelihood))(values)
    for path, slope in gradient.items():
        for entry in np.ndindex(slope.shape):
            value = np.asarray(values[path])
            step = 1e-4 * (abs(value[entry]) or 1.0)
            moved = []
            for sign in (1.0, -1.0, 0.5, -0.5):
                changed = value.copy()
                changed[entry] += sign * step
                moved.append(float(likelihood({**values, path: jnp.asarray(changed)})))
            coarse, fine = (moved[0] - moved[1]) / (2 * step), (moved[2] - moved[3]) / step
            expected = (4 * fine - coarse) / 3
            assert float(slope[entry]) == pytest.approx(expected, rel=1e-5, abs=1e-3), path


def test_what_is_free_in_one_of_two_disks(separate):
    """Disks alike share a program where they are differentiated alike, and give the same if not."""
    data = observation(separate[1])
    pair = scene(
        [disk(), disk(semi_major_axis=30.0, inclination=50.0)], accuracy=1e-6, nodes_on="surfaces"
    )

    @eqx.filter_jit
    def likelihood(values):
        return data.log_likelihood(pair.set(values))

    def gradient(*paths):
        return jax.jit(jax.grad(likelihood))({path: pair.get(path) for path in paths})

    every = gradient("disk.0.inclination", "disk.0.flux", "disk.1.inclination", "disk.1.flux")
    for paths in (("disk.0.flux",), ("disk.0.inclination", "disk.1.flux")):
        for path, slope in gradient(*paths).items():
            assert float(slope) == pytest.approx(float(every[path]), rel=1e-9)


def test_in_a_file(tmp_path):
    of = both(total={"psf": grater.GaussianPSF(2.0, 5)})
    save(tmp_path / "scene.zip", of)
    assert eqx.tree_equal(of, load(tmp_path / "scene.zip"))


def test_many_at_once():
    batch = vary(both(accuracy=1e-4), {"disk.phase.peak": [0.2, 0.4]})
    images = map_models(stacked, batch)
    np.testing.assert_allclose(images[0, 0], images[1, 0], rtol=1e-6)
    np.testing.assert_allclose(2.0 * images[0, 1], images[1, 1], rtol=1e-6)


def test_what_polarised_light_alone_leaves_open_is_found_together():
    """The largest degree of polarisation, with the flux and the asymmetry."""
    rng = np.random.default_rng(3)
    truth = both(accuracy=1e-4, nodes_on="surfaces")
    images = np.asarray(stacked(truth))
    noise = 0.02 * images.max(axis=(1, 2))
    data = joint(
        *(
            observation(image + rng.normal(0.0, error, image.shape), error)
            for image, error in zip(images, noise, strict=True)
        )
    )
    priors = {
        "disk.flux": dist.LogUniform(3.0, 300.0),
        "disk.phase.peak": (0.0, 1.0),
        "disk.phase.phase.g": (-0.9, 0.9),
        "disk.inclination": (40.0, 80.0),
    }
    start = truth.set({"disk.flux": 15.0, "disk.phase.peak": 0.6, "disk.inclination": 60.0})
    found = fit(Posterior(start, data.log_likelihood, priors))
    expected = {path: float(truth.get(path)) for path in priors}
    sigma = {"disk.flux": 0.6, "disk.phase.peak": 0.006, "disk.phase.phase.g": 0.01}
    for path, value in expected.items():
        assert abs(float(found.model.get(path)) - value) < 4.0 * sigma.get(path, 0.2), path
    assert float(data.chi_square(found.model)) == pytest.approx(
        2 * data.images["total"].n_used, rel=0.15
    )


def test_errors():
    with pytest.raises(TypeError, match=r"HenyeyGreenstein has no curve '\w+'. .*Polarized"):
        both(disk(grater.HenyeyGreenstein(0.4))).images()
    with pytest.raises(TypeError, match=r"curves 'total' and 'polarized', no \{'blue'\}"):
        scene(curve="blue").image()
    with pytest.raises(ValueError, match=r"channels total, polarized: .*scene.of\(name\)"):
        both().image()
    with pytest.raises(ValueError, match=r"throughput has shape \(3, 3\)"):
        both(total={"throughput": np.ones((3, 3))})
    one = observation(np.ones((32, 32)))
    with pytest.raises(ValueError, match=r"no channel 'total', only \['image'\]"):
        joint(one, one).log_likelihood(scene())
    one = observation(np.ones((32, 32)), unit="mJy")
    for other, what in (
        (observation(np.ones((32, 30))), "shape"),
        (observation(np.ones((32, 32)), distance=70.0), "distance"),
        (observation(np.ones((32, 32)), center=(15, 16)), "center"),
        (observation(np.ones((32, 32)), unit="Jy"), "unit"),
        (observation(np.ones((32, 32)), roll=3.0), "roll"),
        (observation(np.ones((32, 32)), parity=-1), "parity"),
        (observation(np.ones((32, 32)), distortion=[[1.1, 0.0], [0.0, 1.0]]), "distortion"),
    ):
        with pytest.raises(ValueError, match=rf"'total' has {what} .* on the same pixels"):
            joint(one, other)
    joint(one, observation(np.ones((32, 32)), distortion=np.eye(2)))
