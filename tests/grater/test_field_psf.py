"""PSFs that change over the detector: against sums over all sources, and what compression costs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import LinearNDInterpolator

import grater
from factories import make_scene
from pytreefit import load, save

SHAPE = (14, 17)
ROUGH = {"accuracy": 1e-3, "nodes_on": "surfaces"}
# the last is beyond the image; (4, 3), (13, 2), (14, 12), (2, 11) are corners of the hull
PLACES = np.array([(4, 3), (13, 2), (14, 12), (2, 11), (8.3, 6.9), (20.0, 6.0)])


def stamps(places, ky=5, kx=7, center=(8.0, 7.0)):
    """Cores that widen and turn with the place, with a lobe; dark near the star."""
    row, column = (index - k // 2 for index, k in zip(np.indices((ky, kx)), (ky, kx), strict=True))
    found = []
    for x, y in places:
        r, angle = np.hypot(x - center[0], y - center[1]), np.arctan2(y - center[1], x - center[0])
        u = column * np.cos(angle) + row * np.sin(angle)
        v = row * np.cos(angle) - column * np.sin(angle)
        core = np.exp(-(u**2) / (2 + 0.1 * r) - v**2 / (1.5 + 0.02 * r))
        stamp = core + 0.02 * (1 + np.cos(3 * np.arctan2(v, u))) * (u**2 + v**2 < 9)
        found.append(stamp / stamp.sum() * (1 - 0.9 * np.exp(-(r**2) / 20)))
    return np.array(found)


STAMPS = stamps(PLACES)


@eqx.filter_jit
def convolve(psf, image, margin=(0, 0)):
    return psf.convolve(image, margin)


def made(interpolation="linear", accuracy=0.0, **changes):
    return grater.FieldPSF.from_positions(
        STAMPS, PLACES, SHAPE, interpolation=interpolation, accuracy=accuracy, **changes
    )


def random_image(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape)


def summed(image, weights, kernels):
    """Each pixel's light thrown by the PSF that holds there; no transforms."""
    ny, nx = image.shape
    _, ky, kx = kernels.shape
    canvas = np.zeros((ny + ky - 1, nx + kx - 1))
    for y in range(ny):
        for x in range(nx):
            kernel = np.tensordot(weights[:, y, x], kernels, 1)
            canvas[y : y + ky, x : x + kx] += image[y, x] * kernel
    return canvas[ky // 2 : ky // 2 + ny, kx // 2 : kx // 2 + nx]


def weights_at(interpolation, margin=(0, 0)):
    """Each place's share of each pixel, by SciPy's interpolator; NaN outside of the hull."""
    (ny, nx), (rows, columns) = SHAPE, margin
    row, column = np.indices((ny + 2 * rows, nx + 2 * columns))
    x, y = column - columns, row - rows
    if interpolation == "nearest":
        distance = np.hypot(x - PLACES[:, 0, None, None], y - PLACES[:, 1, None, None])
        return (np.arange(len(PLACES))[:, None, None] == np.argmin(distance, axis=0)) * 1.0
    return np.moveaxis(LinearNDInterpolator(PLACES, np.eye(len(PLACES)))(x, y), -1, 0)


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_convolution_is_the_sum_over_all_sources(interpolation):
    psf = made(interpolation)
    weights = weights_at(interpolation)
    image = random_image(*SHAPE)
    inside = np.isfinite(weights[0])
    assert inside.sum() > 60
    image[~inside] = 0.0
    expected = summed(image, np.nan_to_num(weights), STAMPS)
    np.testing.assert_allclose(convolve(psf, image), expected, atol=1e-14)


def test_beyond_the_hull_is_its_nearest_point():
    """Continuous in every direction, and constant along the normals of an edge."""
    weights = np.asarray(made().weights)
    np.testing.assert_allclose(weights.sum(axis=0), 1.0, rtol=1e-13)
    assert weights.min() >= -1e-12
    steps = np.abs(np.diff(weights, axis=1)).max(), np.abs(np.diff(weights, axis=2)).max()
    assert max(steps) < 0.35  # zones jump by 1
    square = grater.FieldPSF.from_positions(
        STAMPS[:4], [(3, 3), (9, 3), (3, 9), (9, 9)], SHAPE, accuracy=0
    )
    rows, columns = 2, 3  # of the margin
    edge = np.asarray(square.weights)[:, rows : rows + 4, columns + 5]
    np.testing.assert_allclose(edge, np.repeat(edge[:, -1:], 4, axis=1), atol=1e-12)
    np.testing.assert_allclose(edge[:, 0], [2 / 3, 1 / 3, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(square.weights[:, 0, 0], [1.0, 0.0, 0.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("margin", [(2, 3), (1, 0), (4, 6)])
def test_margins(margin):
    """Those of the weights are cut, or continued with what is at their edge."""
    psf = made()
    rows, columns = margin
    image = random_image(SHAPE[0] + 2 * rows, SHAPE[1] + 2 * columns, seed=1)
    assert psf.weights.shape[1:] == (SHAPE[0] + 4, SHAPE[1] + 6)
    weights = np.pad(np.asarray(psf.weights), ((0, 0), (4, 4), (4, 4)), mode="edge")
    top, left = 6 - rows, 7 - columns
    weights = weights[:, top : top + image.shape[0], left : left + image.shape[1]]
    expected = summed(image, weights, STAMPS)[rows : SHAPE[0] + rows, columns : SHAPE[1] + columns]
    np.testing.assert_allclose(convolve(psf, image, margin), expected, atol=1e-14)


def test_one_psf_everywhere_is_an_image_psf():
    image = random_image(*SHAPE)
    alone = grater.ImagePSF(STAMPS[0], "none")
    for psf in (
        grater.FieldPSF.from_positions(STAMPS[:1], [(3, 3)], SHAPE),
        grater.FieldPSF.from_positions(np.repeat(STAMPS[:1], 6, axis=0), PLACES, SHAPE),
    ):
        assert psf.terms == 1
        np.testing.assert_allclose(convolve(psf, image), convolve(alone, image), atol=1e-14)
        np.testing.assert_allclose(psf.kernel(), STAMPS[0], atol=1e-14)


def field(side=25, number=25, k=11):
    """Many PSFs over a field that is bright in points, rings and noise."""
    rng = np.random.default_rng(3)
    places = rng.uniform(-2, side + 2, (number, 2))
    row, column = np.indices((side, side)) - side // 2
    radius = np.hypot(row / 0.6, column)
    points = np.zeros((side, side))
    points[rng.integers(0, side, 6), rng.integers(0, side, 6)] = 1.0
    images = {
        "points": points,
        "thin ring": np.exp(-0.5 * ((radius - 8) / 0.5) ** 2),
        "edge-on": np.exp(-0.5 * (row / 0.4) ** 2 - np.abs(column) / 5),
        "noise": rng.uniform(size=(side, side)) ** 4,
        "uniform": np.ones((side, side)),
    }
    middle = side / 2
    slowly = middle + (places - middle) / 3
    return stamps(slowly, k, k, (middle, middle)), places, (side, side), images


@pytest.mark.parametrize("accuracy", [3e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_compression_is_as_exact_as_it_says(interpolation, accuracy):
    psfs, places, shape, images = field()
    every, few = (
        grater.FieldPSF.from_positions(
            psfs, places, shape, interpolation=interpolation, accuracy=tolerance
        )
        for tolerance in (0.0, accuracy)
    )
    assert (every.terms, float(every.error)) == (25, 0.0)
    assert few.terms < {3e-2: 8, 1e-3: 16, 1e-4: 20}[accuracy]
    assert 0 < float(few.error) <= accuracy
    for name, image in images.items():
        truth = convolve(every, image)
        off = float(jnp.max(jnp.abs(convolve(few, image) - truth)) / jnp.max(truth))
        assert off < few.error, name
        if name == "points":  # what is stated is not far from what is lost
            assert off > 0.05 * few.error


def test_zones():
    zones = np.random.default_rng(4).integers(0, len(STAMPS), SHAPE)
    image = random_image(*SHAPE, seed=2)
    psf = grater.FieldPSF.from_zones(STAMPS, zones, accuracy=0)
    weights = (np.arange(len(STAMPS))[:, None, None] == zones) * 1.0
    np.testing.assert_allclose(convolve(psf, image), summed(image, weights, STAMPS), atol=1e-14)


def test_centres_between_pixels():
    """Stamps of even size about a corner of pixels do what those about a pixel do."""

    def gaussians(size, center):
        row, column = np.indices((size, size)) - center
        widths = np.linspace(1.7, 2.0, len(PLACES))[:, None, None]
        return np.exp(-(row**2 + column**2) / (2 * widths**2)) / (2 * np.pi * widths**2)

    image = random_image(*SHAPE, seed=3)
    odd, even = (
        grater.FieldPSF.from_positions(
            gaussians(size, middle), PLACES, SHAPE, accuracy=0, center=(middle, middle)
        )
        for size, middle in ((25, 12.0), (26, 12.5))
    )
    np.testing.assert_allclose(convolve(even, image), convolve(odd, image), atol=2e-6)


def test_stamps_off_their_centre_are_said():
    row, column = np.indices((8, 8)) - 3.5
    even = np.exp(-(row**2 + column**2) / 4) * np.ones((6, 1, 1))
    with pytest.warns(
        UserWarning, match=r"FieldPSF: images .* about \(3.50, 3.50\).* pixel \(4, 4\)"
    ):
        grater.FieldPSF.from_positions(even, PLACES, SHAPE)


@pytest.fixture(scope="module")
def seen():
    """A disk, its PSF measured around it, and its image."""
    places = [(x, y) for x in (0, 7.5, 15) for y in (0, 7.5, 15)]
    psf = grater.FieldPSF.from_positions(stamps(places), places, (16, 16), accuracy=1e-3)
    return make_scene(psf=psf, **ROUGH), psf


def test_in_a_scene(seen):
    """The margin's light comes in, and each pixel's share is what its place says."""
    scene, psf = seen
    grid = grater.Grid((20, 22), 0.1, 60.0, center=(11.0, 10.0))
    sharp = np.asarray(make_scene(grid=grid, **ROUGH).image())
    expected = summed(sharp, np.asarray(psf.weights), np.asarray(psf.images))[2:18, 3:19]
    np.testing.assert_allclose(scene.image(), expected, atol=2e-3 * expected.max())
    with pytest.raises(ValueError, match=r"FieldPSF is for images of \(16, 16\) .* has \(18, 16\)"):
        scene.set({"grid.shape": (18, 16)})


def test_a_cut_image_is_that_of_the_cut_psf(seen):
    scene, psf = seen
    rows, columns = slice(3, 13), slice(2, 14)
    cut = scene.set(
        {
            "grid": grater.Grid((10, 12), 0.1, 60.0, center=(6.0, 5.0)),
            "psf": psf.crop(rows, columns),
        }
    )
    whole = np.asarray(scene.image())
    np.testing.assert_allclose(cut.image(), whole[rows, columns], atol=2e-3 * whole.max())


def test_derivatives_are_differences(seen):
    """Linear in the sharp image: a difference is the derivative itself."""
    psf = seen[1]
    image, step, back = (random_image(16, 16, seed=seed) for seed in (5, 6, 7))

    @eqx.filter_jit
    def change(psf, image):
        return jax.grad(lambda image: jnp.vdot(psf.convolve(image), back))(image)

    difference = np.vdot(convolve(psf, image + step) - convolve(psf, image), back)
    assert float(jnp.vdot(change(psf, image), step)) == pytest.approx(difference, rel=1e-12)
    tangent = jax.jvp(lambda image: convolve(psf, image), (image,), (step,))[1]
    np.testing.assert_allclose(tangent, convolve(psf, step), atol=1e-14)


def test_another_of_the_same_shape_compiles_nothing():
    traces = 0

    @eqx.filter_jit
    def blurred(psf, image):
        nonlocal traces
        traces += 1
        return psf.convolve(image)

    image = random_image(*SHAPE)
    first, second = made(), made().set({"images": STAMPS[::-1]})
    assert np.abs(blurred(first, image) - blurred(second, image)).max() > 1e-3
    assert traces == 1


def test_in_single_precision():
    image = random_image(*SHAPE, seed=1)
    expected = convolve(made(accuracy=1e-3), image)
    with jax.enable_x64(False):
        blurred = convolve(made(accuracy=1e-3), jnp.asarray(image, float))
        assert blurred.dtype == jnp.float32
        np.testing.assert_allclose(blurred, expected, atol=2e-6)


def test_in_a_file(tmp_path, seen):
    save(tmp_path / "scene.zip", seen[0])
    assert eqx.tree_equal(seen[0], load(tmp_path / "scene.zip"))


LINE = np.stack([np.arange(6.0), 2 * np.arange(6.0)], axis=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": STAMPS[0]}, r"images has shape \(5, 7\); a stack"),
        ({"images": np.where(STAMPS > 0.1, np.nan, STAMPS)}, "NaN, infinite or masked values of"),
        ({"positions": None}, "positions"),
        ({"positions": PLACES[:5]}, r"positions has shape \(5, 2\); one .* each of the 6 PSFs"),
        ({"positions": PLACES * np.nan}, "positions has NaN"),
        ({"positions": 0.0 * PLACES + 3.0}, r"positions has \(3, 3\) 6 times"),
        ({"positions": LINE}, 'on one line, .*interpolation="nearest"'),
        ({"interpolation": "cubic"}, "interpolation = 'cubic' is unknown.*'linear', 'nearest'"),
        ({"accuracy": -1.0}, r"accuracy = -1 is not in \[0, 1\)"),
        ({"shape": (14,)}, r"shape = \(14,\) is not \(rows, columns\)"),
        ({"center": (9.0, 2.0)}, r"center = \(9.0, 2.0\) is not a position"),
    ],
)
def test_bad_input(change, message):
    good = {"images": STAMPS, "positions": PLACES, "shape": SHAPE}
    with pytest.raises((ValueError, TypeError), match=message):
        grater.FieldPSF.from_positions(**{**good, **change})
    if "positions" in change and change["positions"] is LINE:
        grater.FieldPSF.from_positions(**{**good, **change}, interpolation="nearest")


@pytest.mark.parametrize(
    ("zones", "message"),
    [
        (np.full(SHAPE, 6), "zones holds 6, which is none of the 6 PSFs, 0 to 5"),
        (np.full(SHAPE, 0.5), "zones holds 0.5"),
        (np.full(SHAPE, np.nan), "zones holds nan"),
        (np.zeros(5), r"zones has shape \(5,\)"),
    ],
)
def test_bad_zones(zones, message):
    with pytest.raises(ValueError, match=message):
        grater.FieldPSF.from_zones(STAMPS, zones)


def test_bad_parts():
    with pytest.raises(ValueError, match=r"images has 6 terms, FieldPSF.weights 5"):
        grater.FieldPSF(STAMPS, np.ones((5, 4, 4)))
    with pytest.raises(ValueError, match=r"shape = \(4, 4\) .* margin as wide on opposite"):
        grater.FieldPSF(STAMPS, np.ones((6, 5, 6)), (4, 4))
    with pytest.raises(ValueError, match="error = nan is not a finite number of at least 0"):
        grater.FieldPSF(STAMPS, np.ones((6, 4, 4)), error=np.nan)
    with pytest.raises(ValueError, match=r"crop: rows = .* leave no pixels"):
        made().crop(slice(3, 3), slice(0, 4))
