"""Sequences of frames: every orientation as one view, and starlight that is projected out."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy import units as u

import grater
from factories import make_disk
from grater import KLIP, FrameSequence, fit_frames, inject, inject_and_fit
from grater.data.starlight import StarlitNoise
from grater.frames.relearn import deviations
from pytreefit import Model, Posterior, fit, laplace, load, param, save

SHAPE = 25, 25
ANGLES = np.array([0.0, 90.0, 17.0, 40.0, 61.0, 75.0, -20.0, 33.0])
RNG = np.random.default_rng(3)
SMALL = np.random.default_rng(5).normal(size=(4, 9, 9))
VIEW = {"psf": grater.GaussianPSF(2.0, size=9), "accuracy": 1e-3, "nodes_on": "surfaces"}
GRID = grater.Grid(SHAPE, 0.1, 60.0)
SCENE = grater.Scene(make_disk(semi_major_axis=40.0, flux=1e4), grid=GRID, **VIEW)
SETUP = {"pixel_scale": 0.1, "distance": 60.0}
MODES = KLIP(3, annuli=(3, 8, 12.5), sections=2, movement=1.0)


def speckles(rng, number, level):
    """Frames of a halo that hardly changes, in a few ways."""
    y, x = np.indices(SHAPE) - 12
    halo = np.exp(-np.hypot(x, y) / 5.0)
    patterns = halo * rng.normal(size=(4, *SHAPE))
    drift = np.linspace(-1.0, 1.0, number)[:, None] ** np.arange(4)
    return level * (3.0 * halo + np.tensordot(drift, patterns, 1))


@pytest.fixture(scope="module")
def peak():
    return float(SCENE.image().max())


@pytest.fixture(scope="module")
def frames(peak):
    """The disk under starlight three times as bright."""
    error = 0.1 * peak * RNG.uniform(0.8, 1.2, SHAPE)
    empty = FrameSequence(np.zeros((8, *SHAPE)), error, angles=ANGLES, **SETUP)
    image = empty.models(SCENE) + speckles(RNG, 8, peak) + error * RNG.normal(size=(8, *SHAPE))
    return empty.set({"image": image})


@pytest.fixture(scope="module")
def learned(frames):
    return frames.learn(MODES, SCENE)


# --- the frames of a scene ---


def test_every_frame_is_the_view_at_its_angle(frames):
    models = frames.models(SCENE)
    for k in (0, 2, 6):
        alone = SCENE.set({"grid.roll": ANGLES[k]}).image()
        np.testing.assert_allclose(models[k], alone, atol=1e-9 * float(alone.max()))


def test_angles_turn_as_the_field_does(frames):
    """VIP's derotation by its angle_list, 90 deg: row index up, that is np.rot90 by -1."""
    models = np.asarray(frames.models(SCENE))
    turned = np.rot90(models[1], -1)
    np.testing.assert_allclose(turned, models[0], atol=1e-6 * models.max())
    assert np.max(np.abs(np.rot90(models[1]) - models[0])) > 0.1 * models.max()


def test_a_star_at_another_place_in_each_frame():
    centers = np.array([[12.0, 12.0], [12.5, 11.0], [11.3, 12.6]])
    data = FrameSequence(np.zeros((3, *SHAPE)), 1.0, angles=np.zeros(3), center=centers, **SETUP)
    scene = grater.Scene(SCENE.disk, grid=data.grid, **VIEW)
    models = data.models(scene)
    for k in range(3):
        alone = scene.set({"grid.center": centers[k]}).image()
        np.testing.assert_allclose(models[k], alone, atol=1e-9 * float(alone.max()))


def test_oversampled_frames():
    scene = grater.Scene(SCENE.disk, grid=GRID, oversample=2, **VIEW)
    data = FrameSequence(np.zeros((2, *SHAPE)), 1.0, angles=[0.0, 17.0], **SETUP)
    alone = scene.set({"grid.roll": 17.0}).image()
    np.testing.assert_allclose(data.models(scene)[1], alone, atol=1e-9 * float(alone.max()))


# --- the likelihood ---


def test_the_likelihood_is_that_of_starlight_in_each_frame(learned):
    """The components over the errors are reference images with flat coefficients."""
    scene = SCENE.set({"noise.scale": 1.3})
    models, total = learned.models(scene), 0.0
    for k in range(8):
        columns = np.zeros((learned.components.number(1), SHAPE[0] * SHAPE[1]))
        row = 0
        for basis, pixels in zip(learned.components.bases, learned.components.pixels, strict=True):
            columns[row : row + basis.shape[1], pixels] = basis[k]
            row += basis.shape[1]
        columns = jnp.asarray(columns.reshape(-1, *SHAPE) * np.asarray(learned.error[k]))
        noise = StarlitNoise(scene.noise, columns, None)
        used = learned.used[k]
        image, model = (jnp.where(used, v[k], 0.0) for v in (learned.image, models))
        total += float(noise.log_likelihood(image, model, learned.error[k], used))
    assert float(learned.log_likelihood(scene)) == pytest.approx(total, rel=1e-11)
    residuals, normalization = (f(scene) for f in (learned.residuals, learned.log_normalization))
    same = jnp.sum(normalization) - 0.5 * jnp.sum(residuals**2)
    assert float(same) == pytest.approx(total, rel=1e-11)
    squares = float(jnp.sum(residuals**2)) * 1.3**2
    assert float(learned.chi_square(scene)) == pytest.approx(squares, rel=1e-9)


def test_fit_laplace_and_the_scale_of_the_noise(learned, peak):
    """In the least-squares maximum of the flux alone, all is a closed form."""
    priors = {"disk.flux": (1e3, 1e5), "noise.scale": (0.1, 10.0)}
    start = learned.scaled_to_data(SCENE.set({"disk.flux": 5.0}))
    posterior = Posterior(start, learned.log_likelihood, priors)
    best = fit(posterior, progress=False)
    assert best.converged
    one = SCENE.set({"disk.flux": 1e4, "noise.scale": 1.0})
    nothing = learned.set({"image": jnp.zeros_like(learned.image)})
    data = np.asarray(learned.residuals(SCENE.set({"disk.flux": 0.0})))
    model = -np.asarray(nothing.residuals(one))
    factor = (model @ data) / (model @ model)
    freedom = learned.n_used - learned.components.number(8)
    scale = np.sqrt(np.sum((data - factor * model) ** 2) / freedom)
    assert float(best.values["disk.flux"]) == pytest.approx(1e4 * factor, rel=1e-5)
    assert float(start.get("disk.flux")) == pytest.approx(1e4 * factor, rel=1e-9)
    assert float(best.values["noise.scale"]) == pytest.approx(scale, rel=1e-5)
    around = laplace(posterior, best, method="fisher")
    assert float(around.std["disk.flux"]) == pytest.approx(
        1e4 * scale / np.sqrt(model @ model), rel=1e-4
    )
    expected = scale / np.sqrt(2.0 * freedom)
    assert float(around.std["noise.scale"]) == pytest.approx(expected, rel=1e-3)


def test_derivatives(learned):
    names = ("disk.inclination", "disk.position_angle", "noise.scale", "grid.roll")
    at = np.array([64.0, 26.0, 1.2, 0.3])

    exact = SCENE.set({"accuracy": 1e-6})

    @jax.jit
    def value(u):
        return learned.log_likelihood(exact.set(dict(zip(names, u, strict=True))))

    steps = np.diag([1e-3, 1e-3, 1e-5, 1e-3])
    slopes = [(value(at + d) - value(at - d)) / (2.0 * d.max()) for d in steps]
    np.testing.assert_allclose(jax.grad(value)(at), slopes, rtol=1e-5)


def test_other_frames_of_the_same_shape_compile_nothing(learned):
    traces = []

    @jax.jit
    def value(data, scene):
        traces.append(1)
        return data.log_likelihood(scene)

    other = learned.set({"image": 2.0 * learned.image})
    assert float(value(learned, SCENE)) != float(value(other, SCENE))
    assert len(traces) == 1


def test_set_is_as_built_anew(learned):
    for path, value in {
        "image": 2.0 * learned.image,
        "error": 2.0 * learned.error,
        "angles": ANGLES + 1.0,
        "center": [12.3, 11.8],
        "components": None,
        "mask": learned.mask.at[2, 12, 12].set(True),
    }.items():
        changed = learned.set({path: value})
        fields = {f.name: getattr(changed, f.name) for f in dataclasses.fields(changed)}
        fresh = FrameSequence(**fields)
        values = [float(data.log_likelihood(SCENE)) for data in (changed, fresh, learned)]
        assert values[0] == values[1], path
        assert values[0] != values[2] or path == "center", path
    images = jnp.stack([learned.image, 2.0 * learned.image])
    many = jax.vmap(lambda image: learned.set({"image": image}).log_likelihood(SCENE))(images)
    assert float(many[0]) == pytest.approx(values[2], rel=1e-12)


def test_single_precision(learned):
    double = np.asarray(learned.residuals(SCENE))
    arrays = ("image", "error", "mask", "angles")
    given = {name: np.asarray(getattr(learned, name)) for name in arrays}
    with jax.enable_x64(False):
        scene = grater.Scene(
            make_disk(semi_major_axis=40.0, flux=1e4),
            grid=grater.Grid(SHAPE, 0.1, 60.0),
            **{**VIEW, "psf": grater.GaussianPSF(2.0, size=9)},
        )
        data = FrameSequence(**given, **SETUP).learn(MODES, scene)
        single = np.asarray(data.residuals(scene), float)
        assert data.components.bases[0].dtype == jnp.float32
    np.testing.assert_allclose(single, double, atol=5e-3)


def test_frames_are_saved(learned, tmp_path):
    save(tmp_path / "frames.npz", learned)
    same = load(tmp_path / "frames.npz")
    assert jax.tree.structure(same) == jax.tree.structure(learned)
    assert float(same.log_likelihood(SCENE)) == float(learned.log_likelihood(SCENE))


def test_without_components_any_noise_will_do(frames):
    scene = SCENE.set({"noise": grater.StudentTNoise(1.0)})
    alone = sum(
        float(
            scene.noise.log_likelihood(
                frames.image[k], frames.models(scene)[k], frames.error[k], frames.used[k]
            )
        )
        for k in range(8)
    )
    assert float(frames.log_likelihood(scene)) == pytest.approx(alone, rel=1e-11)


# --- the components ---


def test_components_are_principal_components(frames, learned):
    """Of frames over errors without the disk, in one sector, of frames that moved."""
    regions = MODES.regions(SHAPE, (12, 12))
    light = np.asarray((frames.image - frames.models(SCENE)) / frames.error)
    for frame, region in ((0, 0), (3, 3)):
        radius = (5.5, 10.25)[region // 2]
        apart = np.deg2rad(np.abs(ANGLES - ANGLES[frame]))
        moved = 2.0 * radius * np.sin(apart / 2.0) >= 1.0
        assert moved.sum() < 8
        rows = light[moved][:, regions == region]
        expected = np.linalg.svd(rows, full_matrices=False)[2][:3]
        found = np.asarray(learned.components.bases[region][frame])
        signs = np.sign(np.sum(found * expected, axis=1, keepdims=True))
        np.testing.assert_allclose(found, signs * expected, atol=1e-9)
        assert set(learned.components.pixels[region].tolist()) == set(
            np.flatnonzero(regions.ravel() == region).tolist()
        )


def test_sectors_and_annuli():
    regions = KLIP(1, annuli=(2, 4, 6), sections=4).regions((15, 15), (7, 7))
    assert regions[7, 7] == regions[0, 0] == -1
    assert regions[8, 10] == 0  # up and to the right
    assert regions[10, 6] == 1
    assert regions[6, 4] == 2
    assert regions[4, 8] == 3
    assert regions[8, 12] == 4
    assert np.all(KLIP(1).regions((5, 5), (2, 2)) == 0)


def test_bad_pixels_are_left_out_frame_by_frame(frames):
    image = np.array(frames.image)
    image[2, 8, 12] = np.nan
    image[5, 3:5, 10] = np.nan
    data = frames.set({"image": image}).learn(KLIP(3, rotation=5.0), SCENE)
    unchanged = data.log_likelihood(SCENE)
    other = data.set({"image": np.where(np.isnan(image), np.inf, image)})
    assert np.isfinite(float(unchanged))
    assert float(other.log_likelihood(SCENE)) == float(unchanged)
    (basis,) = data.components.bases
    products = np.einsum("nkp,nlp->nkl", basis, basis)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), (8, 3, 3)), atol=1e-12)
    assert np.all(np.asarray(basis)[2, :, 8 * 25 + 12] == 0.0)


def test_references_of_other_stars(frames, peak):
    references = speckles(RNG, 5, 2.0 * peak)
    data = frames.set({"references": references}).learn(KLIP(4, library="references"))
    (basis,) = data.components.bases
    assert basis.shape == (1, 4, 625)
    rows = (references / np.asarray(frames.error[0])).reshape(5, -1)
    expected = np.linalg.svd(rows, full_matrices=False)[2][:4]
    np.testing.assert_allclose(basis[0].T @ basis[0], expected.T @ expected, atol=1e-9)
    # with as many components as references it is `Starlight`, frame by frame
    data = frames.set({"references": references[:4]}).learn(KLIP(4, library="references"))
    light = grater.Starlight(references[:4])
    alone = [
        grater.Observation(frames.image[k], frames.error[k], starlight=light, **SETUP).chi_square(
            SCENE.set({"grid.roll": ANGLES[k]})
        )
        for k in range(8)
    ]
    assert float(data.chi_square(SCENE)) == pytest.approx(float(sum(alone)), rel=1e-8)
    both = frames.set({"references": references}).learn(KLIP(4, library="both", rotation=5.0))
    assert both.components.bases[0].shape == (8, 4, 625)


def test_a_bad_pixel_in_one_frame_of_several_regions():
    """Its region has components of each frame, the other one shares them."""
    image = np.array(SMALL)
    image[1, 4, 6] = np.nan
    few = {"angles": [0.0, 5.0, 10.0, 15.0], **SETUP}
    data = FrameSequence(image, 0.1, references=RNG.normal(size=(4, 9, 9)), **few)
    data = data.learn(KLIP(2, annuli=(0, 3, 5), library="references"))
    assert [len(basis) for basis in data.components.bases] == [4, 1]
    assert data.components.unused().sum() == 1
    assert np.all(np.isfinite(data.projected()))


@pytest.mark.parametrize("how", [{"rotation": 1.0}, {"library": "references"}])
def test_the_first_pixels_of_a_region_may_be_masked(how):
    image = np.array(SMALL)
    image[2, 0, :2] = np.nan
    few = {"angles": [0.0, 5.0, 10.0, 15.0], **SETUP}
    data = FrameSequence(image, 0.1, references=RNG.normal(size=(4, 9, 9)), **few)
    (basis,) = data.learn(KLIP(3, **how)).components.bases
    assert np.all(np.asarray(basis)[2, :, :2] == 0.0)
    np.testing.assert_allclose(basis[2] @ basis[2].T, np.eye(3), atol=1e-12)


def test_references_are_in_the_unit_of_the_frames():
    few = {"error": 0.1 * u.mJy, "angles": np.zeros(4), **SETUP}
    for image, unit in ((SMALL * u.mJy, ""), (SMALL, "mJy"), (1e-3 * SMALL * u.Jy, "mJy")):
        data = FrameSequence(image, references=1e-3 * SMALL * u.Jy, unit=unit, **few)
        np.testing.assert_allclose(data.references, SMALL)
    with pytest.raises(TypeError, match=r"references is in Jy, but the image has no unit"):
        FrameSequence(SMALL, references=SMALL * u.Jy, **few | {"error": 0.1})
    with pytest.raises(TypeError, match=r"error has no unit, .* converted from Jy to mJy"):
        FrameSequence(SMALL * u.Jy, unit="mJy", **few | {"error": 0.1})
    with pytest.raises(TypeError, match=r"references .* cannot be converted to unit 'mJy'"):
        FrameSequence(SMALL * u.mJy, references=SMALL * u.s, **few)


def test_a_star_that_moves_is_no_other_place_than_its_mean():
    centers = np.array([[12.0, 12.0], [13.5, 11.0], [10.5, 13.0]])
    data = FrameSequence(np.ones((3, *SHAPE)), 1.0, angles=np.zeros(3), center=centers, **SETUP)
    scene = grater.Scene(SCENE.disk, grid=data.grid, **VIEW)
    priors = {"disk.flux": (1e3, 1e5)}
    Posterior(scene, data.log_likelihood, priors)
    with pytest.warns(UserWarning, match=r"center = \[14.0, 12.0\], the observation \[12.0, 12.0"):
        Posterior(scene.set({"grid.center": (14.0, 12.0)}), data.log_likelihood, priors)


def test_relearning_takes_the_disk_out_of_the_components(frames):
    with_disk = frames.learn(MODES)
    once = with_disk.relearn(SCENE)
    again = frames.learn(MODES, SCENE)
    for one, other in zip(once.components.bases, again.components.bases, strict=True):
        np.testing.assert_array_equal(one, other)
    model = np.asarray(frames.models(SCENE))
    kept = [float(jnp.sum(data.projected(model) ** 2)) for data in (with_disk, once)]
    assert kept[0] < 0.9 * kept[1]


def test_shared_components_and_their_changes_are_integrated_out(frames):
    """Residuals are those of least squares with all first-order changes of the starlight."""
    window = frames.mask_radius(0.0, 3.2)
    scene = SCENE.set({"noise.scale": 1.3})
    data = window.learn(KLIP(2), scene)
    (course,), (pixels,) = (getattr(data.components, name) for name in ("courses", "pixels"))
    number, size = len(course), len(pixels)
    rows = np.asarray((frames.image - frames.models(scene)) / frames.error / 1.3)
    rows = rows.reshape(number, -1)[:, np.asarray(pixels)]
    values = np.linalg.svd(rows, full_matrices=False)
    columns = [np.outer(e, z).ravel() for e in np.eye(number) for z in values[2][:2]]
    columns += [np.outer(u, e).ravel() for u in values[0].T[:2] for e in np.eye(size)]
    columns = np.array(columns).T
    rest = rows.ravel() - columns @ np.linalg.lstsq(columns, rows.ravel())[0]
    found = np.asarray(data.residuals(scene)).reshape(number, -1)
    np.testing.assert_allclose(found[:, np.asarray(pixels)], rest.reshape(number, size), atol=1e-9)
    assert np.sum(found**2) == pytest.approx(np.sum(rest**2))
    assert data.components.number(number) == np.linalg.matrix_rank(columns)
    used = data.n_used
    slope = jax.grad(lambda s: jnp.sum(data.log_normalization(scene.set({"noise.scale": s}))))(1.3)
    freedom = used - np.linalg.matrix_rank(columns)
    assert float(slope) == pytest.approx(-freedom / 1.3)


def test_a_fit_settles_where_disk_and_starlight_fit_best_together(frames):
    """The sum of the squared singular values that are left is the least there."""
    priors = {"disk.flux": (1e3, 1e5), "disk.inclination": (40.0, 80.0)}
    data = frames.mask_radius(2.0, 11.0).learn(KLIP(3))
    start = SCENE.set({"disk.inclination": 57.0, "disk.flux": 7e3})
    posterior = Posterior(start, data.log_likelihood, priors)
    found = fit_frames(posterior, progress=False)
    assert found.settled
    assert found.message.startswith("Settled after")
    assert len(found.moves) <= 4
    around = laplace(found.posterior, found.best, method="fisher")
    for name, truth in (("disk.flux", 1e4), ("disk.inclination", 60.0)):
        off = float(found.best.values[name]) - truth
        assert abs(off) < 3.5 * float(around.std[name])
    # components with the disk in them, and not free, miss much of its light
    plain = frames.mask_radius(2.0, 11.0).learn(KLIP(3, rotation=1e-6))
    alone = fit(Posterior(start, plain.log_likelihood, priors), progress=False)
    assert float(alone.values["disk.flux"]) < 0.9e4

    (pixels,) = found.frames.components.pixels

    def left(flux, inclination):
        scene = SCENE.set({"disk.flux": flux, "disk.inclination": inclination})
        light = np.asarray((frames.image - frames.models(scene)) / frames.error)
        rows = light.reshape(8, -1)[:, np.asarray(pixels)]
        return np.sum(np.linalg.svd(rows, compute_uv=False)[3:] ** 2)

    best = [float(v) for v in found.best.values.values()]
    steps = [float(around.std[name]) for name in priors]
    least = left(*best)
    for step in np.diag(steps):
        assert least < min(left(*(best + step)), left(*(best - step)))


class Line(Model):
    level: jax.Array = param()
    slope: jax.Array = param()


def test_values_at_the_edge_of_their_prior_have_no_error():
    x = jnp.linspace(-1.0, 1.0, 9)

    def residuals(line):
        return (line.level + line.slope * x - 2.0 - 3.0 * x) / 0.1

    posterior = Posterior(
        Line(1.0, 1.0),
        lambda line: -0.5 * jnp.sum(residuals(line) ** 2),
        {"level": (0.0, 9.0), "slope": (0.0, 2.0)},
        residuals=residuals,
        log_normalization=lambda line: jnp.zeros(9),
    )
    best = fit(posterior, progress=False)
    assert best.at_edge == ("slope",)
    found = deviations(posterior, best)
    assert float(found["level"]) == pytest.approx(0.1 / 3.0, rel=1e-4)
    assert np.isnan(found["slope"])


def test_fits_of_frames_need_components(frames):
    posterior = Posterior(SCENE, frames.log_likelihood, {"disk.flux": (1e3, 1e5)})
    with pytest.raises(ValueError, match="needs a Posterior whose log_likelihood is that of a Fra"):
        fit_frames(posterior)


# --- disks that are put in ---


def test_injected_disks_are_seen_in_each_frame(frames):
    twice = inject(frames, SCENE, 2.0)
    expected = frames.image + 2.0 * frames.models(SCENE)
    np.testing.assert_allclose(twice.image, expected, rtol=1e-12)
    sky = grater.Observation(np.zeros(SHAPE), 1.0, **SETUP)
    np.testing.assert_array_equal(inject(sky, SCENE).image, SCENE.image())
    with pytest.raises(ValueError, match=re.escape("has shape (25, 25), the observation's (9, 9)")):
        inject(grater.Observation(np.zeros((9, 9)), 1.0, **SETUP), SCENE)


def test_copies_at_other_angles_are_found_again(frames):
    priors = {"disk.flux": (1e3, 1e5), "disk.position_angle": (0.0, 60.0)}
    data = frames.mask_radius(2.0, 11.0).learn(KLIP(3))
    turns = [60.0, 200.0]
    found = inject_and_fit(data, SCENE, priors, turns, remove=SCENE, progress=False)
    assert found.pulls.shape == (2, 2)
    assert np.max(np.abs(found.pulls)) < 4.0
    assert np.all(found.errors[:, 1] < 3.0)
    assert str(found.summary()).count("disk.") == 2
    # the same copy by hand, in a view that is turned
    empty = inject(data, SCENE, -1.0)
    copy = inject(empty, SCENE.set({"disk.position_angle": 90.0}))
    at = SCENE.set({"grid.roll": -60.0})
    np.testing.assert_allclose(
        copy.image, inject(empty, at).image, atol=1e-6 * float(SCENE.image().max())
    )
    with pytest.raises(ValueError, match="must be some finite angles"):
        inject_and_fit(data, SCENE, priors, [])


# --- pictures ---


def test_turned_frames_are_the_sky(frames):
    """Where nothing is projected out the mean is the view with North up, but for the blur."""
    clean = frames.set({"image": frames.models(SCENE)})
    picture = np.asarray(clean.reduce())
    sky = np.asarray(SCENE.image())
    y, x = np.indices(SHAPE) - 12
    inside = np.hypot(x, y) < 9
    assert np.max(np.abs(picture - sky)[inside]) < 0.03 * sky.max()


def test_a_polynomial_is_turned_exactly(frames):
    """Cubic convolution reproduces parabolas."""
    y, x = np.indices(SHAPE) - 12.0
    values = []
    for angle in np.deg2rad(ANGLES):
        west, north = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
        values.append(1.0 + 0.3 * west - 0.2 * north + 0.05 * west * north - 0.02 * north**2)
    truth = 1.0 + 0.3 * x - 0.2 * y + 0.05 * x * y - 0.02 * y**2
    inside = np.hypot(x, y) < 9.5
    for how in ("mean", "median"):
        picture = np.asarray(frames.reduce(np.array(values), how))
        np.testing.assert_allclose(picture[inside], truth[inside], rtol=1e-9, atol=1e-12)


def test_the_picture_is_linear_and_projected(learned):
    model = learned.models(SCENE)
    parts = [np.asarray(learned.reduce(v)) for v in (None, model, learned.image - model)]
    seen = np.isfinite(parts[0])
    assert seen.sum() > 100
    np.testing.assert_allclose((parts[1] + parts[2])[seen], parts[0][seen], atol=1e-9)
    rest = learned.projected()
    again = learned.projected(rest)
    np.testing.assert_allclose(again, rest, atol=1e-9 * float(jnp.max(jnp.abs(rest))))


# --- bad input ---


def one(**changes):
    good = dict(image=np.ones((3, *SHAPE)), error=0.1, angles=[0.0, 5.0, 10.0], **SETUP)
    return FrameSequence(**{**good, **changes})


HOLE = np.ones((3, *SHAPE), bool)
HOLE[1] = False
NOISE = RNG.normal(size=(3, *SHAPE))
REFERENCES = RNG.normal(size=(2, *SHAPE))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: one(angles=None), "angles is missing: give the position angle"),
        (lambda: one(angles=[0.0, 1.0]), "angles has shape (2,), but there are 3 frames"),
        (lambda: one(image=np.ones(SHAPE)), "image has shape (25, 25) but must be 3-dim"),
        (lambda: one(error=np.ones((2, 2))), "error has shape (2, 2); (3, 25, 25) is needed"),
        (lambda: one(error=0.0), "error is zero or negative in 1875 of the 1875 pixels"),
        (lambda: one(mask=HOLE), "frame 1 has no pixel in use"),
        (lambda: one(mask=True), "mask has shape (); (3, 25, 25) is needed, or (25, 25) for all"),
        (lambda: one(center=np.ones((2, 2))), "center has shape (2, 2): give (x, y), or (3, 2)"),
        (lambda: one(references=np.ones((2, 9, 9))), "references has shape (2, 9, 9); images (m,"),
        (lambda: one(references=np.full((1, *SHAPE), np.nan)), "references is not finite in 625"),
        (lambda: one().learn(KLIP(4)), "KLIP.modes = 4, but frame 0 in region 0 has only 3 ref"),
        (lambda: one(image=NOISE).learn(KLIP(3)), "nothing is left for the disk. Take fewer modes"),
        (
            lambda: one(image=NOISE, references=REFERENCES).learn(KLIP(5, library="both")),
            "is itself one of only 5 references",
        ),
        (lambda: one().learn(KLIP(2)), "are sums of fewer images than that"),
        (
            lambda: one().learn(KLIP(1, rotation=50.0)),
            "no frame is left as a reference for frame 0",
        ),
        (lambda: one().learn(KLIP(1, library="both")), "but the frames have no references"),
        (lambda: one().learn(KLIP(1, annuli=(90, 99))), "no pixel in use is in any of them"),
        (lambda: one(image=NOISE).learn(KLIP(2, annuli=(0, 0.5))), "region 0 has only 1 pixels"),
        (lambda: one().relearn(SCENE), "have no components yet"),
        (lambda: one().models(SCENE.set({"grid.parity": -1})), "flip the frames"),
        (lambda: one().mask_radius(5, 2), "needs 0 <= inner < outer"),
        (lambda: KLIP(3, movement=1.0), "at which radius? Give the annuli"),
        (lambda: KLIP(3, annuli=(5, 5)), "must be at least two radii >= 0 that increase"),
        (lambda: KLIP(3, rotation=-1.0), "KLIP.rotation = -1 must be >= 0"),
        (lambda: KLIP(0), "KLIP.modes = 0"),
    ],
)
def test_what_cannot_be_used_is_refused(build, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


def test_other_pixels_need_other_components(learned):
    with pytest.raises(ValueError, match="learned from other frames, or with other pixels in use"):
        learned.set({"mask": learned.mask.at[:, 5, 12].set(False)})
    assert learned.with_mask(np.ones(SHAPE, bool)).components is None


def test_frames_are_no_channel(frames):
    """One image for all of them would be compared otherwise."""
    with pytest.raises(TypeError, match="is a FrameSequence, not an Observation of one image"):
        grater.JointObservation({"image": frames})
    with pytest.raises(ValueError, match="The scene's images"):
        frames.compared(frames.image[0])
    one = grater.Observation(frames.image[0], 1.0, **SETUP, view="b")
    with pytest.raises(ValueError, match=r"images\['a'\] is of the view or channel 'b'"):
        grater.JointObservation({"a": one})
    assert grater.JointObservation({"b": one}).grid.shape == SHAPE


def test_components_need_gaussian_noise(learned):
    with pytest.raises(TypeError, match="is no GaussianNoise"):
        learned.log_likelihood(SCENE.set({"noise": grater.StudentTNoise(1.0)}))
