"""Observations in blocks of pixels."""

import jax.numpy as jnp
import numpy as np
import pytest

from grater import Grid, Observation, Scene, Starlight

from .conftest import general_disk

SETUP = {"pixel_scale": 0.014, "distance": 72.0}


def test_blocks_of_pixels_are_means_with_the_errors_of_means():
    rng = np.random.default_rng(3)
    image, error = rng.normal(size=(7, 9)), rng.uniform(0.5, 2.0, (7, 9))
    mask = np.ones((7, 9), bool)
    mask[1, 4], image[5, 1] = False, np.nan
    binned = Observation(image, error, mask=mask, center=(4.0, 2.5), **SETUP).bin(3)
    assert binned.shape == (2, 3)
    assert np.asarray(binned.used).tolist() == [[True, False, True], [False, True, True]]
    for row, column in ((0, 0), (1, 1), (1, 2)):
        block = np.s_[3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        assert float(binned.image[row, column]) == pytest.approx(image[block].mean())
        own = np.sqrt(np.sum(error[block] ** 2)) / 9.0
        assert float(binned.error[row, column]) == pytest.approx(own)
    assert float(binned.pixel_scale) == pytest.approx(3.0 * SETUP["pixel_scale"])
    # the middle of the first block is the pixel (1, 1)
    assert np.asarray(binned.center).tolist() == pytest.approx([1.0, 0.5])
    tiny = Observation(image * 1e-30, error * 1e-30, mask=mask, **SETUP).bin(3)
    np.testing.assert_allclose(tiny.error[0, 0], 1e-30 * binned.error[0, 0])


def test_a_scene_in_blocks_is_the_scene_of_larger_pixels():
    grid = Grid((12, 16), pixel_scale=0.05, distance=20.0, center=(7.0, 5.5))
    disk = general_disk(semi_major_axis=4.0, scale_height=0.4, offset_x=0.2, offset_y=-0.1)
    image = Scene(disk, grid=grid, inner_radius=0.1).image()
    fine = Observation(image, 1.0, pixel_scale=0.05, distance=20.0, center=grid.center)
    coarse = fine.bin(2)
    same = Scene(disk, grid=coarse.grid, oversample=2, inner_radius=0.05).image()
    np.testing.assert_allclose(coarse.image, same, atol=1e-3 * float(jnp.max(same)))


def test_references_are_in_the_same_blocks():
    rng = np.random.default_rng(4)
    references = rng.normal(size=(2, 6, 6))
    observation = Observation(np.ones((6, 6)), 1.0, starlight=Starlight(references), **SETUP)
    starlight = observation.bin(2).starlight
    assert starlight is not None
    own = references.reshape(2, 3, 2, 3, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(starlight.references, own)


@pytest.mark.parametrize(
    ("n", "message"), [(0, "bin: n = 0"), (6, r"bin: n = 6 pixels is more than .*\(5, 7\)")]
)
def test_impossible_blocks_are_refused(n, message):
    with pytest.raises(ValueError, match=message):
        Observation(np.ones((5, 7)), 1.0, **SETUP).bin(n)
