"""Surveys of disks: each is found and fitted, and its row depends on no other."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grater
from grater.starts import templates
from grater.starts.search import _priors
from pytreefit import survey

GRID = grater.Grid((27, 27), pixel_scale=0.05, distance=20.0)  # pixels of 1 au
PATHS = ("disk.semi_major_axis", "disk.inclination", "disk.position_angle")
OPTIONS = {"steps": 60, "number": 4, "progress": False}


def scene_of(radius, inclination, angle, flux):
    disk = grater.Disk(
        radius,
        inclination,
        angle,
        alpha_in=10.0,
        alpha_out=-6.0,
        scale_height=0.36,
        flux=flux,
        phase=grater.HenyeyGreenstein(0.4),
        density_normalization="column",
    )
    return grater.Scene(disk, grid=GRID, psf=grater.GaussianPSF(2.0))


TRUTHS = {"one": (9.0, 60.0, 30.0), "two": (7.5, 50.0, 100.0)}
SCENE = scene_of(7.0, 55.0, 20.0, 1.0)


@pytest.fixture(scope="module")
def images():
    found = {}
    for seed, (name, truth) in enumerate(TRUTHS.items()):
        scene = scene_of(*truth, 1.0)
        scene = scene.set({"disk.flux": 8.0 / float(jnp.max(scene.image()))})
        seen = grater.Observation.simulate(scene, 1.0, jax.random.key(seed))
        found[name] = seen.mask_radius(3.0)
    return found


@pytest.fixture(autouse=True)
def few_rings(monkeypatch):
    monkeypatch.setattr(templates, "TEMPLATES", 512)
    monkeypatch.setattr(templates, "_AROUND", 16)
    monkeypatch.setattr(sys.modules["grater.starts.search"], "_STEPS", 25)


def broken():
    raise OSError("no such file")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("disks") / "store"


def test_disks_are_found_and_fitted(images, folder):
    disks = {"broken": broken, **images}
    found = grater.fit_many(disks, SCENE, store=folder, keep_fits=True, **OPTIONS)
    assert found.failed == {"broken": "OSError: no such file"}
    for name, truth in TRUTHS.items():
        row = found.rows[name]
        for path, true in zip(PATHS, truth, strict=True):
            assert 0.0 < row[f"{path}_error"] < 0.1 * true
            assert abs(row[path] - true) < 5.0 * row[f"{path}_error"]
        assert row["status"] == "converged"
        assert row["reduced_chi_square"] == pytest.approx(1.0, abs=0.2)
        assert row["gain"] > 1000.0
        assert row["flags"] == ""
        kept = survey.Store(folder).result(name)
        assert float(kept["fit"].values[PATHS[0]]) == row[PATHS[0]]
        assert float(kept["laplace"].std[PATHS[1]]) == row[f"{PATHS[1]}_error"]
    table = found.table()
    assert str(table[PATHS[0]].unit) == "AU"
    assert np.isnan(table[PATHS[0]][0])


def test_a_row_depends_on_no_other_disk(images, folder, tmp_path):
    alone = grater.fit_many({"two": images["two"]}, SCENE, store=tmp_path, **OPTIONS)
    assert alone.rows["two"] == survey.Store(folder).row("two")
    with pytest.raises(ValueError, match="begun with steps = 60, and this run has 61"):
        grater.fit_many(images, SCENE, store=folder, **{**OPTIONS, "steps": 61})


def test_from_a_start_of_ones_own(images):
    def start(image):
        return scene_of(8.7, 58.0, 33.0, 1.0).set({"disk.flux": flux})

    def priors(image):  # those of the search, so that nothing is compiled again
        levels = templates.levels_of(image, SCENE, (0.0, np.inf))
        return _priors(start(image), levels, {})

    flux = 8.0 / float(jnp.max(scene_of(8.7, 58.0, 33.0, 1.0).image()))
    own = {"search": False, "errors": False, **OPTIONS}
    row = grater.fit_many({"one": images["one"]}, start, priors, **own).rows["one"]
    assert abs(row[PATHS[0]] - 9.0) < 0.2
    assert np.isnan(row[f"{PATHS[0]}_error"])
    assert "gain" not in row


def test_what_cannot_be(images):
    with pytest.raises(ValueError, match="scene is None, and search is False"):
        grater.fit_many(images, search=False)
    with pytest.raises(TypeError, match="scene is a int"):
        grater.fit_many(images, 3)
    failed = grater.fit_many({"x": lambda: 3}, SCENE, progress=False).failed
    assert "observation is a int" in failed["x"]
