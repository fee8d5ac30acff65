"""Polarised light through a telescope: Q and U are convolved, and turned back about the star."""

import os
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.wcs import WCS
from scipy.signal import convolve2d
from scipy.special import ive

import grater
from factories import make_disk, make_scene

NAMES = ("Q_phi", "U_phi", "Q", "U")
GRID = grater.Grid((11, 13), 0.1, 60.0, center=(6.3, 4.8))
STAMP = np.random.default_rng(0).uniform(size=(5, 7))
STAMP[2, 3] = 3.0
# double precision needs no more, and the program is smaller
ROUGH = {"accuracy": 1e-3, "nodes_on": "surfaces"}
DUST = make_disk(phase=grater.Polarized(grater.HenyeyGreenstein(0.3), 0.4))


def scene_of(names=NAMES, of=DUST, grid=GRID, optics=None, **changes):
    optics = {"psf": grater.ImagePSF(STAMP)} if optics is None else optics
    channel = {
        name: grater.Channel(curve="polarized", stokes=name if name in NAMES else None, **optics)
        for name in names
    }
    return make_scene(of, grid=grid, channel=channel, **{**ROUGH, **changes})


@eqx.filter_jit
def images(scene):
    return scene.images()


def position_angles(shape, center, scale, roll, parity, distortion=None):
    """Of each pixel about the star, by astropy's reading of a header."""
    turn = np.deg2rad(roll)
    # West and North of steps to the right and up
    steps = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if distortion is not None:
        steps = steps @ distortion
    steps = steps @ np.diag([parity, 1.0])
    header = WCS(naxis=2)
    header.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    header.wcs.crpix = np.array(center) + 1.0
    header.wcs.crval = [40.0, 0.0]
    header.wcs.cd = np.diag([-1.0, 1.0]) @ steps * scale / 3600
    row, column = np.indices(shape)
    pixels = np.stack([column.ravel(), row.ravel()], axis=1)
    east, north = header.wcs.p2s(pixels + 1.0, 1)["imgcrd"].T
    return np.arctan2(east, north).reshape(shape)


def brute_force(sharp, center, scale, axes, margin):
    """All Stokes images of a polarised intensity that is wider than the image by the margin."""
    rows, columns = margin
    inner = slice(rows, sharp.shape[0] - rows), slice(columns, sharp.shape[1] - columns)
    angle = position_angles(sharp.shape, center, scale, *axes)
    kernel = STAMP / STAMP.sum()
    q, u = (convolve2d(-sharp * f(2 * angle), kernel, mode="same")[inner] for f in (np.cos, np.sin))
    cosine, sine = np.cos(2 * angle)[inner], np.sin(2 * angle)[inner]
    return {"Q": q, "U": u, "Q_phi": -q * cosine - u * sine, "U_phi": q * sine - u * cosine}


SKEW = np.array([[1.02, 0.05], [-0.01, 0.98]])


@pytest.mark.parametrize(
    "axes",
    [(63.81, 1), (-120.0, 1), (200.0, -1), (31.0, -1, SKEW)],
    ids=str,
)
def test_q_and_u_are_convolved(axes):
    roll, parity, distortion = (*axes, None)[:3]
    how = {"roll": roll, "parity": parity, "distortion": distortion}
    wide = grater.Grid((15, 19), 0.1, 60.0, center=(9.3, 6.8), **how)
    sharp = scene_of(["P"], grid=wide, optics={})
    sharp = np.asarray(images(sharp)["P"])
    expected = brute_force(sharp, (9.3, 6.8), 0.1, axes, (2, 3))
    found = images(scene_of(grid=GRID.set(how)))
    size = np.max(expected["Q_phi"])
    for name in NAMES:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-10 * size)
    assert np.max(np.abs(expected["U_phi"])) > 0.05 * size


def test_more_points_than_pixels():
    """Each point has its own angle; the PSF is that of the pixels."""
    wide = grater.Grid((30, 38), 0.05, 60.0, center=(2 * 9.3 + 0.5, 2 * 6.8 + 0.5))
    sharp = scene_of(["P"], grid=wide, optics={}, inner_radius=2.0)
    sharp = np.asarray(images(sharp)["P"])
    points = position_angles(sharp.shape, np.asarray(wide.center), 0.05, 0.0, 1)
    mean = lambda light: light.reshape(15, 2, 19, 2).mean(axis=(1, 3))  # noqa: E731
    kernel = STAMP / STAMP.sum()
    q, u = (
        convolve2d(mean(-sharp * f(2 * points)), kernel, mode="same")[2:-2, 3:-3]
        for f in (np.cos, np.sin)
    )
    angle = position_angles((11, 13), (6.3, 4.8), 0.1, 0.0, 1)
    found = images(scene_of(("Q_phi",), oversample=2))["Q_phi"]
    expected = -q * np.cos(2 * angle) - u * np.sin(2 * angle)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * expected.max())


def test_without_a_psf():
    found = images(scene_of(("Q_phi", "U_phi", "P"), optics={}, roll=40.0))
    size = np.max(found["P"])
    np.testing.assert_allclose(found["U_phi"], 0.0, atol=1e-15 * size)
    np.testing.assert_allclose(found["Q_phi"], found["P"], atol=1e-15 * size)


def test_a_face_on_ring_has_no_u_phi():
    """By symmetry, however wide the PSF; what it mixes is lost in Q_phi."""
    grid = grater.Grid((13, 13), 0.1, 60.0)
    face_on = DUST.set({"inclination": 0.0})
    optics = {"psf": grater.GaussianPSF(3.0)}
    found = images(scene_of(("Q_phi", "U_phi", "P"), face_on, grid, optics))
    size = np.max(found["P"])
    symmetric = np.asarray(found["U_phi"]) + np.asarray(found["U_phi"])[::-1]
    np.testing.assert_allclose(symmetric, 0.0, atol=1e-12 * size)
    axis = np.asarray(found["U_phi"])[6]  # the corners of the pixels are further away
    np.testing.assert_allclose(axis, 0.0, atol=1e-12 * size)
    assert np.all(np.asarray(found["Q_phi"]) < np.asarray(found["P"]))
    # at the star nothing points anywhere
    assert float(found["Q_phi"][6, 6]) == 0.0


def test_a_ring_in_closed_form():
    r"""A Gaussian takes :math:`I_2(r a / \sigma^2) / I_0` of a face-on ring of radius a."""
    side, wing, width, fwhm = 41, 27, 1.2, 9.0
    grid = grater.Grid((side, side), 0.1, 60.0)
    optics = {"psf": grater.GaussianPSF(fwhm, size=2 * wing + 1)}
    view = make_scene(grid=grid, channel=scene_of(("Q_phi", "P"), optics=optics).channels).view
    radius = np.hypot(*(np.indices((side + 2 * wing,) * 2) - side // 2 - wing))
    light = jnp.asarray(np.exp(-0.5 * ((radius - 14.0) / width) ** 2))
    seen = {
        name: view.only(name).seen(channel, light, ()) for name, channel in view.channels.items()
    }
    sigma = fwhm / np.sqrt(8 * np.log(2))
    a, share = np.polynomial.legendre.leggauss(200)
    a, share = 14.0 + 10 * width * a, 10 * width * share
    r = np.hypot(*(np.indices((side, side)) - side // 2))[..., None]
    # exponentially scaled Bessel functions
    ring = share * a * np.exp(-0.5 * ((a - 14.0) / width) ** 2 - 0.5 * ((r - a) / sigma) ** 2)
    for name, order in (("P", 0), ("Q_phi", 2)):
        expected = np.sum(ring * ive(order, r * a / sigma**2), axis=-1) / sigma**2
        np.testing.assert_allclose(seen[name], expected, atol=2e-7)


def test_light_of_one_pixel():
    """A source to the North, far from the star against the PSF: -Q and nothing in U."""
    view = grater.View(GRID, channel=scene_of().channels)
    rows, columns = view.padding()
    light = np.zeros((11 + 2 * rows, 13 + 2 * columns))
    light[10 + rows, 6 + columns] = 1.0
    north = {
        name: view.only(name).seen(view.channels[name], jnp.asarray(light), ()) for name in NAMES
    }
    assert float(jnp.sum(north["Q"])) < -0.6  # some of it is beyond the frame
    assert abs(float(jnp.sum(north["U"]))) < 0.15
    assert float(north["Q_phi"][10, 6]) == pytest.approx(STAMP[2, 3] / STAMP.sum(), rel=1e-6)
    # to the North-East, which is up and left, U is as negative as Q was
    light = np.roll(light, (-10 + 7, -2), (0, 1))
    u = view.only("U").seen(view.channels["U"], jnp.asarray(light), ())
    assert float(jnp.sum(u)) < -0.9


def test_roll_and_mirror():
    """Q and U are of the sky: with detector and disk turned together they turn, twice as far."""
    optics = {"psf": grater.GaussianPSF(2.0)}
    straight = images(scene_of(optics=optics))
    roll = 50.0
    turned = images(
        scene_of(of=DUST.set({"position_angle": 30.0 + roll}), optics=optics, roll=roll)
    )
    for name in ("Q_phi", "U_phi"):
        np.testing.assert_allclose(turned[name], straight[name], atol=1e-12)
    both = (np.asarray(seen["Q"]) + 1j * np.asarray(seen["U"]) for seen in (straight, turned))
    expected = next(both) * np.exp(2j * np.deg2rad(roll))
    np.testing.assert_allclose(next(both), expected, atol=1e-12)
    middle = grater.Grid((11, 13), 0.1, 60.0)
    straight, mirrored = (
        images(scene_of(grid=middle.set({"parity": parity}), optics=optics)) for parity in (1, -1)
    )
    for name in NAMES:
        np.testing.assert_allclose(mirrored[name], np.asarray(straight[name])[:, ::-1], atol=1e-12)


def joint_of(names, seen, noise):
    return grater.JointObservation(
        {
            name: grater.Observation(
                seen[name] + noise[name], 0.01, pixel_scale=0.1, distance=60.0, center=(6.3, 4.8)
            )
            for name in names
        }
    )


@pytest.fixture(scope="module")
def data():
    """Q and U with noise, and the same turned about the star, which leaves white noise white."""
    rng = np.random.default_rng(2)
    seen = {name: np.asarray(image) for name, image in images(scene_of()).items()}
    q, u = rng.normal(0.0, 0.01, (2, *GRID.shape))
    angle = 2 * position_angles(GRID.shape, (6.3, 4.8), 0.1, 0.0, 1)
    cosine, sine = np.cos(angle), np.sin(angle)
    noise = {"Q": q, "U": u, "Q_phi": -q * cosine - u * sine, "U_phi": q * sine - u * cosine}
    return {pair: joint_of(pair, seen, noise) for pair in (NAMES[:2], NAMES[2:])}


def test_either_pair_says_the_same(data):
    scene = scene_of(of=DUST.set({"inclination": 55.0, "flux": 1.1}))
    one, two = (float(pair.log_likelihood(scene)) for pair in data.values())
    assert one == pytest.approx(two, rel=1e-10)
    alone = data[NAMES[:2]].images["U_phi"].set({"view": "U_phi"})
    residuals = (np.asarray(alone.image) - np.asarray(images(scene)["U_phi"])) / 0.01
    np.testing.assert_allclose(alone.chi_square(scene), np.sum(residuals**2), rtol=1e-9)


def test_gradients_are_differences(data):
    scene = scene_of(("Q_phi", "U_phi"), optics={"psf": grater.GaussianPSF(2.0, 5)})
    scene = scene.set({"accuracy": 1e-8})
    start = {
        path: scene.get(path)
        for path in (
            "disk.inclination",
            "disk.position_angle",
            "grid.center",
            "grid.roll",
            "channel.U_phi.psf.fwhm",
        )
    }

    @eqx.filter_jit
    def value_and_slopes(values):
        of = lambda values: data[NAMES[:2]].log_likelihood(scene.set(values))  # noqa: E731
        return jax.value_and_grad(of)(values)

    slopes = value_and_slopes(start)[1]
    for path, value in start.items():
        entry = (0,) * value.ndim
        step = 1e-3 * max(abs(float(value[entry])), 1.0)

        def moved(by, path=path, value=value, entry=entry):
            return float(value_and_slopes({**start, path: value.at[entry].add(by)})[0])

        coarse = (moved(step) - moved(-step)) / (2 * step)
        fine = (moved(step / 2) - moved(-step / 2)) / step
        assert float(slopes[path][entry]) == pytest.approx((4 * fine - coarse) / 3, rel=1e-5), path


def test_bad_input():
    with pytest.raises(ValueError, match=r"stokes = 'V' is unknown.*'Q', 'U', 'Q_phi', 'U_phi'"):
        grater.Channel(stokes="V")
    with pytest.raises(ValueError, match="stokes = 'Q' is of polarised light, but curve = 'total'"):
        grater.Channel(curve="total", stokes="Q")
    with pytest.raises(ValueError, match=r"curve = 'K.total': give curve='K.polarized'"):
        grater.Channel(curve="K.total", stokes="Q")


@pytest.mark.skipif("GRATER_DATA" not in os.environ, reason="GRATER_DATA names no data folder")
def test_u_phi_of_a_real_disk_has_our_sign():
    """What the PSF makes of HR 4796 A is in U_phi of GPI, from where its Q_phi is."""
    path = pathlib.Path(os.environ["GRATER_DATA"], "disks", "hr4796a_H_pol.fits.gz")
    q, u = (grater.Observation.from_gpi(path, 71.9, stokes=name) for name in ("Q_phi", "U_phi"))
    phase = grater.Polarized(grater.HenyeyGreenstein(0.4))
    ring = grater.Disk(77, 76.8, 26.1, alpha_in=20, alpha_out=-12, scale_height=1.5, phase=phase)
    seen = images(scene_of(("Q_phi", "U_phi"), ring, q.grid, {"psf": grater.GaussianPSF(3.8)}))
    for name, data in (("Q_phi", q), ("U_phi", u)):
        used, model = np.asarray(data.used), np.asarray(seen[name])
        image, model, error = (np.asarray(a)[used] for a in (data.image, model, data.error))
        sigma = 1 / np.sqrt(np.sum((model / error) ** 2))
        assert np.sum(image * model / error**2) * sigma > 10, name
