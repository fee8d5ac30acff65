"""The search for disks without a start: what it compares, and what it finds in small images.

Surveys of disks are tested here too, for they share its programs.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grater
from grater.starts import templates
from grater.starts.search import _priors
from grater.survey import _independent
from pytreefit import survey, vary

SIDE = 27
GRID = grater.Grid((SIDE, SIDE), pixel_scale=0.05, distance=20.0)  # pixels of 1 au
ROUGH = {"accuracy": 1e-3, "nodes_on": "surfaces"}
RADIUS, INCLINATION, ANGLE = templates.RADIUS, templates.INCLINATION, templates.POSITION_ANGLE


def scene_of(inclination=60.0, angle=30.0, radius=9.0, g=0.4, signal=8.0):
    """A ring whose brightest pixel outside of the mask is some errors of 1 bright."""
    disk = grater.Disk(
        radius,
        inclination,
        angle,
        alpha_in=10.0,
        alpha_out=-6.0,
        scale_height=0.04 * radius,
        phase=grater.HenyeyGreenstein(g),
        density_normalization="column",
    )
    scene = grater.Scene(disk, grid=GRID, psf=grater.GaussianPSF(2.0))
    image = np.where(grater.Observation(jnp.ones(GRID.shape), 1.0, pixel_scale=0.05, distance=20.0)
                     .mask_radius(3.0).mask, scene.image(), 0.0)  # fmt: skip
    return scene.set({"disk.flux": signal / np.max(image)})


def image_of(scene, seed=0):
    return grater.Observation.simulate(scene, 1.0, jax.random.key(seed)).mask_radius(3.0)


@pytest.fixture(autouse=True)
def few_rings(monkeypatch):
    monkeypatch.setattr(templates, "TEMPLATES", 256)
    monkeypatch.setattr(templates, "_AROUND", 8)
    monkeypatch.setattr(templates, "_CHUNK", 128)
    monkeypatch.setattr(sys.modules["grater.starts.search"], "_STEPS", 25)


def found_in(observation, **options):
    # the same structure always, so that programs are compiled once
    start = scene_of(inclination=50.0, angle=10.0, radius=7.0).set({"disk.flux": 1.0})
    return grater.search(observation, start, progress=False, **options)


def same_side(values):
    """Inclination and position angle with the position angle from 0 to 180 deg."""
    inclination, angle = float(values[INCLINATION]), float(values[ANGLE]) % 360.0
    return (180.0 - inclination, angle - 180.0) if angle >= 180.0 else (inclination, angle)


@pytest.mark.parametrize(
    ("inclination", "angle", "radius"), [(60.0, 30.0, 9.0), (125.0, 160.0, 7.0), (86.0, 95.0, 11.0)]
)
def test_disks_are_found_without_a_start(inclination, angle, radius):
    truth = scene_of(inclination, angle, radius)
    found = found_in(image_of(truth))
    tilt, turn = same_side(found.best.values)
    assert abs(tilt - inclination) < 3.0
    assert abs(turn - angle) < 3.0
    own, true = (float(grater.peak_radius(s.disk)) for s in (found.best.model, truth))
    assert abs(own / true - 1.0) < 0.05
    assert found.gain > 1000.0
    assert found.agreeing >= 1
    assert not any("no disk" in flag or "undefined" in flag for flag in found.flags)
    assert len(found.table()) == len(found.fits)
    assert np.all(np.diff([float(f.log_density) for f in found.fits]) <= 0.0)


def test_noise_alone_is_no_disk():
    nothing = scene_of().set({"disk.flux": 0.0})
    found = found_in(image_of(nothing, seed=4))
    assert found.gain < 30.0
    (flag,) = found.flags
    assert flag.startswith("no disk: the best ring lowers chi-square by ")


def test_an_image_without_any_light_does_not_raise():
    dark = grater.Observation(
        jnp.full(GRID.shape, -3.0), 1.0, pixel_scale=0.05, distance=20.0
    ).mask_radius(3.0)
    found = found_in(dark)
    assert found.fits == ()
    assert found.flags == ("no disk: the best ring lowers chi-square by 0.0",)
    assert len(found.table()) == 0
    with pytest.raises(ValueError, match="found no disk"):
        _ = found.best


def test_isotropic_dust_leaves_the_near_side_undecided():
    found = found_in(image_of(scene_of(inclination=55.0, g=0.0)))
    one, other = found.undecided
    assert "near side undecided" in found.flags
    assert templates.opposite(one.values, other.values)
    assert templates.distance(one.values, other.values) < 0.1


def test_a_round_disk_has_no_position_angle():
    found = found_in(image_of(scene_of(inclination=2.0)))
    assert any("position angle undefined" in flag for flag in found.flags)
    assert abs(90.0 - float(found.best.values[INCLINATION])) > 75.0


def test_priors_keep_the_search_to_their_limits():
    observation = image_of(scene_of(inclination=60.0, angle=30.0))
    found = found_in(observation, priors={INCLINATION: (95.0, 170.0), ANGLE: (180.0, 240.0)})
    assert float(found.best.values[INCLINATION]) == pytest.approx(120.0, abs=3.0)
    assert float(found.best.values[ANGLE]) == pytest.approx(210.0, abs=3.0)
    for ring in found.rings:
        assert 95.0 < ring.values[INCLINATION] < 170.0


def level_of(observation, scene):
    return templates.Level(observation, scene, (3.0, 15.0))


@pytest.mark.parametrize("starlit", [False, True])
def test_the_gain_is_that_of_a_linear_fit(starlit):
    scene = scene_of()
    observation = image_of(scene)
    if starlit:
        observation = observation.set({"starlight": grater.Starlight(constant=True, slope=True)})
    values = {RADIUS: jnp.asarray([8.0, 10.0]), INCLINATION: jnp.asarray([50.0, 100.0])}
    gains = templates._gains(scene, observation, values)
    used = np.asarray(observation.used)
    data = np.asarray(observation.image)[used]
    y, x = np.nonzero(used)
    light = np.stack([np.ones(x.size), x, y], axis=1) if starlit else np.zeros((x.size, 0))

    def chi_square(columns):
        if not columns.shape[1]:
            return np.sum(data**2)
        best, *_ = np.linalg.lstsq(columns, data, rcond=None)
        return np.sum((data - columns @ best) ** 2)

    for k, gain in enumerate(gains):
        one = scene.set({name: float(array[k]) for name, array in values.items()})
        model = np.asarray(one.image())[used]
        least = chi_square(np.column_stack([light, model]))
        assert float(gain) == pytest.approx(chi_square(light) - least, rel=1e-6)


def test_rings_of_negative_flux_have_no_gain():
    scene = scene_of()
    observation = image_of(scene).with_image(-scene.image())
    (gain,) = templates._gains(scene, observation, {RADIUS: jnp.asarray([9.0])})
    assert float(gain) == 0.0


def test_rings_are_seen_where_their_light_is_negative():
    """Q of a ring whose ends are to the North and South is below 0 as a whole."""
    scene = scene_of(angle=0.0)
    scene = grater.Scene(scene.disk, grid=GRID, psf=grater.GaussianPSF(2.0), stokes="Q")
    observation = grater.Observation(scene.image(), 1.0, pixel_scale=0.05, distance=20.0)
    assert jnp.sum(scene.image()) < 0.0
    (gain,) = templates._gains(scene, observation, {RADIUS: jnp.asarray([9.0])})
    assert float(gain) == pytest.approx(float(jnp.sum(scene.image() ** 2)), rel=1e-6)


def place(radius, inclination, angle):
    return {RADIUS: radius, INCLINATION: inclination, ANGLE: angle}


def test_what_is_the_same_ring_on_the_sky():
    ring = place(50.0, 60.0, 20.0)
    for same in (place(50.0, 60.0, 200.0), place(50.0, 120.0, 20.0), place(50.0, 120.0, -160.0)):
        assert templates.distance(ring, same) == pytest.approx(0.0, abs=1e-12)
    assert templates.distance(place(50.0, 0.0, 20.0), place(50.0, 0.0, 80.0)) < 1e-12
    assert templates.distance(ring, place(50.0, 60.0, 110.0)) > templates.APART
    assert templates.opposite(ring, place(50.0, 120.0, 20.0))
    assert templates.opposite(ring, place(50.0, 60.0, 200.0))
    assert not templates.opposite(ring, place(50.0, 120.0, 200.0))


def test_near_side_agrees_with_the_image():
    """The same disk named in the two ways has one image, so one near side."""
    scenes = vary(scene_of(), {INCLINATION: [60.0, 120.0], ANGLE: [30.0, 210.0]})
    one, other = jax.lax.map(lambda scene: scene.image(), scenes)
    np.testing.assert_allclose(one, other, atol=1e-3 * float(jnp.max(one)))
    assert not templates.opposite(place(9.0, 60.0, 30.0), place(9.0, 120.0, 210.0))


def test_large_images_are_searched_at_several_scales():
    observation = grater.Observation(np.ones((185, 185)), 1.0, pixel_scale=0.05, distance=20.0)
    scene = grater.Scene(scene_of().disk, grid=observation.grid, psf=grater.GaussianPSF(4.0))
    levels = templates.levels_of(observation, scene, (0.0, np.inf))
    assert [level.observation.shape for level in levels] == [(46, 46), (49, 49)]
    (low, middle), (same, high) = levels[1].radii, levels[0].radii
    assert low == pytest.approx(2.0)
    assert middle == same == pytest.approx(24.0)
    assert high == pytest.approx(92.0 * np.sqrt(2.0))
    only = templates.levels_of(observation, scene, (30.0, 40.0))
    assert [level.radii for level in only] == [(30.0, 40.0)]


def test_what_cannot_be_searched_is_refused():
    scene = scene_of()
    observation = image_of(scene)
    two = grater.Scene({"a": scene.disk, "b": scene.disk}, grid=GRID)
    with pytest.raises(ValueError, match="scene has 2 disks"):
        grater.search(observation, two)
    with pytest.raises(TypeError, match="observation"):
        grater.search(scene)
    with pytest.raises(ValueError, match=r"grid of \(5, 5\) pixels, the observation of \(27, 27\)"):
        grater.search(observation, grater.Scene(scene.disk, grid=grater.Grid((5, 5), 0.05, 20.0)))
    with pytest.raises(ValueError, match="no radius that the image shows"):
        grater.search(observation, scene, priors={RADIUS: (300.0, 400.0)}, progress=False)
    with pytest.raises(ValueError, match="number"):
        grater.search(observation, number=0)
    beside = grater.Scene(scene.disk, source=grater.PointSource(0.3, 0.1, 5.0), view=scene.view)
    with pytest.raises(ValueError, match="has point sources"):
        grater.search(observation, beside)


@pytest.mark.parametrize("kind", ["field", "fine"])
def test_a_part_of_the_image_has_its_part_of_the_optics(kind):
    """PSFs that change over the field are cut, those of more points keep them."""
    row, column = np.indices((7, 7)) - 3
    stamps = np.exp(-(row**2 + column**2) / np.array([2.0, 3.0, 4.0])[:, None, None])
    mask = np.linspace(0.3, 1.0, SIDE**2).reshape(SIDE, SIDE)
    if kind == "field":
        places = [(3, 3), (22, 5), (12, 24)]
        psf = grater.FieldPSF.from_positions(stamps, places, GRID.shape, accuracy=0)
    else:
        psf, mask = grater.ImagePSF(stamps[0], oversample=2), np.kron(mask, np.ones((2, 2)))
    disk = scene_of().disk
    seen = grater.Scene(
        disk, grid=GRID, psf=psf, transmission=mask, oversample=psf.points_per_pixel, **ROUGH
    )
    data = image_of(seen)
    level = templates._level(data, seen, 1, 15, None)
    whole = np.asarray(seen.image())[6:21, 6:21]
    inner = slice(3, 12)  # the map is continued as it is at the edge of the part
    np.testing.assert_allclose(
        np.asarray(level.scene.image())[inner, inner], whole[inner, inner], rtol=2e-3
    )
    coarse = templates._level(data, seen, 2, None, None).scene.view.channel
    assert coarse.transmission.shape == (13, 13)
    width = templates._width(psf) / 2
    assert float(coarse.psf.fwhm) == pytest.approx(np.hypot(width, templates._PIXEL))


START = scene_of(inclination=50.0, angle=10.0, radius=7.0).set({"disk.flux": 1.0})
TRUTHS = {"one": (60.0, 30.0, 9.0), "two": (50.0, 100.0, 7.5)}
QUIET = {"steps": 60, "progress": False, "correlated": False}


def broken():
    raise OSError("no such file")


def of(name):
    """A function that reads an image when its turn comes."""
    return lambda: image_of(scene_of(*TRUTHS[name]), len(name))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("disks") / "store"


def test_many_disks_are_found_and_fitted(folder):
    disks = {"broken": broken, **{name: of(name) for name in TRUTHS}}
    found = grater.fit_many(disks, START, store=folder, keep_fits=True, **QUIET)
    assert found.failed == {"broken": "OSError: no such file"}
    for name, truth in TRUTHS.items():
        row, kept = found.rows[name], survey.Store(folder).result(name)
        for path, true in zip((INCLINATION, ANGLE), truth, strict=False):
            assert 0.0 < row[f"{path}_error"] < 0.1 * true
            assert abs(row[path] - true) < 5.0 * row[f"{path}_error"]
            assert float(kept["fit"].values[path]) == row[path]
            assert float(kept["laplace"].std[path]) == row[f"{path}_error"]
        assert row["status"] == "converged"
        assert row["reduced_chi_square"] == pytest.approx(1.0, abs=0.2)
        assert row["gain"] > 1000.0
        assert row["agreeing"] >= 1
    table = found.table()
    assert str(table[RADIUS].unit) == "AU"
    assert np.isnan(table[RADIUS][0])


def test_errors_know_that_pixels_are_correlated():
    scene = scene_of(*TRUTHS["one"])
    noise = grater.CorrelatedNoise(grater.MaternCorrelation(1.5), 0.1)
    image = image_of(scene.set({"noise": noise}))
    start, error = scene.set({"disk.flux": 0.9 * scene.disk.flux}), f"{INCLINATION}_error"
    priors = _priors(start, templates.levels_of(image, start, (0.0, np.inf)), {})
    rows = [
        grater.fit_many({"one": image}, start, priors, search=False, **options).rows["one"]
        for options in (QUIET, {**QUIET, "correlated": True})
    ]
    assert rows[1][error] > 1.3 * rows[0][error]
    assert all(abs(row[INCLINATION] - 60.0) < 4.0 * rows[1][error] for row in rows)
    assert "noise.length" not in rows[0]
    assert rows[1]["noise.length"] == pytest.approx(1.5, rel=0.3)
    assert 0.0 <= rows[1]["noise.white"] < 0.3
    # the widths are those of the scene's own noise
    again = grater.CorrelatedNoise.of_residuals(scene.set({"noise.scale": 1.2}), image)
    assert float(again.get("scale")) == pytest.approx(1.2)
    with pytest.raises(TypeError, match="AbstractGaussianNoise"):
        grater.CorrelatedNoise.of_residuals(scene.set({"noise": noise}), image)


def test_noise_of_one_of_several_views_stays_as_it_is():
    scene = scene_of()
    several = grater.Scene(scene.disk, view={"a": scene.view, "b": scene.view})
    image = image_of(scene)
    assert _independent(scene, image)
    assert not _independent(several, image.set({"view": "a"}))
    assert not _independent(scene.set({"noise": grater.StudentTNoise()}), image)


def test_a_row_depends_on_no_other_disk(folder, tmp_path):
    alone = grater.fit_many({"two": of("two")}, START, store=tmp_path, **QUIET)
    assert alone.rows["two"] == survey.Store(folder).row("two")
    with pytest.raises(ValueError, match="begun with steps = 60, and this run has 61"):
        grater.fit_many({"two": of("two")}, START, store=folder, **{**QUIET, "steps": 61})


def test_fits_of_many_from_starts_of_ones_own():
    start = scene_of(58.0, 33.0, 8.7)

    def priors(image):  # those of the search
        return _priors(start, templates.levels_of(image, start, (0.0, np.inf)), {})

    own = {"search": False, "errors": False, **QUIET}
    row = grater.fit_many({"one": of("one")}, lambda image: start, priors, **own).rows["one"]
    assert abs(row[INCLINATION] - 60.0) < 3.0
    assert np.isnan(row[f"{INCLINATION}_error"])
    assert "gain" not in row


def test_what_many_disks_cannot_be():
    with pytest.raises(ValueError, match="scene is None, and search is False"):
        grater.fit_many({"one": of("one")}, search=False)
    with pytest.raises(TypeError, match="scene is a int"):
        grater.fit_many({"one": of("one")}, 3)
    failed = grater.fit_many({"x": lambda: 3}, START, progress=False).failed
    assert "observation is a int" in failed["x"]
