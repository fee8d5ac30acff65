"""Figures of several exposures, and what they are together."""

import jax
import numpy as np
import pytest

import grater
from factories import make_disk


@pytest.fixture(scope="module")
def rolls():
    """A scene with two rolled views, and an exposure in each."""
    angles = {"roll1": 20.0, "roll2": -35.0}
    grid = grater.Grid((31, 31), 0.07, 60.0, center=(15.3, 14.8))
    views = {
        name: grater.View(grid, psf=grater.GaussianPSF(4.0), roll=angle)
        for name, angle in angles.items()
    }
    scene = grater.Scene(make_disk(), view=views)
    error = 0.02 * float(np.max(scene.of("roll1").image()))
    data = {}
    for k, (name, factor) in enumerate({"roll1": 1.0, "roll2": 2.0}.items()):
        simulated = grater.Observation.simulate(scene.of(name), factor * error, jax.random.key(k))
        data[name] = simulated.set({"view": name})
    return scene, data, error


def test_exposures_are_turned_north_up_and_weighted(rolls):
    scene, data, error = rolls
    found = grater.combine(scene, data)
    north_up = scene.of("roll1").set({"grid.roll": 0.0}).image()
    inside = np.isfinite(found.data)
    assert inside.sum() > 500
    peak = float(np.max(north_up))
    np.testing.assert_allclose(found.model[inside], north_up[inside], atol=5e-3 * peak)
    # errors of 1 and 2 weigh as 4 to 1 where both are
    y, x = np.indices((31, 31))
    near = np.hypot(x - 15.3, y - 14.8) < 10.0
    np.testing.assert_allclose(found.noise[near], error * np.sqrt(0.8), rtol=1e-2)
    left = (found.data - found.model)[near] / found.noise[near]
    assert 0.5 < left.std() < 1.1  # interpolation smooths noise
    # masked pixels leave the other exposure
    half = {**data, "roll1": data["roll1"].with_mask(np.indices((31, 31))[1] > 15)}
    some = grater.combine(scene, half)
    assert np.nanmax(some.noise[near]) == pytest.approx(2.0 * error, rel=1e-2)


def test_exposures_are_turned_about_the_star_that_was_fitted(rolls):
    """The pixel that observations say may be a first guess."""
    scene, data, _ = rolls
    right = grater.combine(scene, data)
    guess = {name: one.set({"center": (15.0, 15.0)}) for name, one in data.items()}
    found = grater.combine(scene, guess)
    np.testing.assert_allclose(found.model, right.model)
    np.testing.assert_allclose(found.data, right.data)
    assert found.grid.center.tolist() == [15.3, 14.8]


def test_rows_of_the_figure(rolls):
    scene, data, _ = rolls
    figure = grater.plot_exposures(scene, data)
    titles = [ax.get_title() for part in figure.subfigs for ax in part.axes]
    assert titles.count("model") == 3
    assert {"roll1", "roll2", "all, North up"} <= set(titles)
    assert len(grater.plot_exposures(scene, data, combined=False).subfigs) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda scene, data: (scene, {}), "must be a dictionary"),
        (lambda scene, data: (scene, {"a": 3}), r"observations\['a'\]"),
        (lambda scene, data: (scene, {**data, "roll2": data["roll2"].crop(21)}), "Crop them"),
        (lambda scene, data: (mirrored(scene), data), "mirrored"),
        (lambda scene, data: (of_other_light(scene), data), "curve None, 'roll2' has 'polarized'"),
        (lambda scene, data: (scene, in_units(data)), "unit 'mJy', 'roll2' has 'Jy'"),
    ],
)
def test_bad_input(rolls, change, says):
    scene, data, _ = rolls
    with pytest.raises((ValueError, TypeError), match=says):
        grater.plot_exposures(*change(scene, data))


def mirrored(scene):
    grid = scene.of("roll1").grid.set({"parity": -1})
    view = grater.View(grid, psf=grater.GaussianPSF(4.0))
    return grater.Scene(scene.disk, view={"roll1": view, "roll2": view})


def of_other_light(scene):
    disk = scene.disk.set({"phase": grater.Polarized(scene.disk.phase)})
    first = scene.of("roll1").view
    other = grater.View(first.grid, psf=grater.GaussianPSF(4.0), curve="polarized", stokes="Q_phi")
    return grater.Scene(disk, view={"roll1": first, "roll2": other})


def in_units(data):
    return {
        name: grater.Observation(
            one.image,
            one.error,
            pixel_scale=one.pixel_scale,
            distance=one.distance,
            center=one.center,
            unit=unit,
            view=name,
        )
        for (name, one), unit in zip(data.items(), ("mJy", "Jy"), strict=True)
    }
