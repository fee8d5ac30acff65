"""Lines of sight in blocks, those that see nothing left out: the same image as without either."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grater
from grater import Rule

SIZE = 128  # three blocks, and each quarter of the image is one


def sky(offset=0.3):
    x = jnp.arange(SIZE, dtype=float) - 0.5 * SIZE + offset
    return jnp.broadcast_to(x[None, :], (SIZE, SIZE)), jnp.broadcast_to(x[:, None], (SIZE, SIZE))


def intensity(inclination, nodes_on, x, y, accuracy=1e-4):
    disk = grater.Disk(
        25.0,
        inclination,
        30.0,
        alpha_in=6.0,
        alpha_out=-4.0,
        scale_height=1.0,
        eccentricity=0.2,
        argument_of_pericenter=70.0,
        phase=grater.HenyeyGreenstein(0.4),
    )
    return disk.intensity(x, y, Rule(accuracy, nodes_on))


@pytest.mark.parametrize(
    ("inclination", "nodes_on"),
    [(60.0, "surfaces"), (60.0, "auto"), (88.0, "segments"), (90.0, "auto"), (20.0, "segments")],
)
def test_in_blocks_and_in_pieces(inclination, nodes_on):
    """Quarters of the image are one block each, and all of their lines of sight count."""

    def image(inclination, x, y):
        return intensity(inclination, nodes_on, x, y)

    @jax.jit
    def value_and_slope(x, y):
        return jax.jvp(lambda i: image(i, x, y), (inclination,), (1.0,))

    x, y = sky()
    halves = slice(SIZE // 2), slice(SIZE // 2, SIZE)
    quarters = [
        [value_and_slope(x[rows, columns], y[rows, columns]) for columns in halves]
        for rows in halves
    ]
    for k, whole in enumerate(value_and_slope(x, y)):
        pieces = np.block([[np.asarray(quarter[k]) for quarter in row] for row in quarters])
        scale = np.max(np.abs(pieces))
        assert scale > 0
        np.testing.assert_allclose(whole, pieces, atol=2e-4 * scale)


def test_lines_that_see_nothing():
    """Edge-on, a third of the image is dark; nothing that counts is left out of the rest."""
    x, y = sky()
    fine, coarse = (
        jax.jit(lambda x, y, a=accuracy: intensity(88.0, "segments", x, y, a))(x, y)
        for accuracy in (1e-6, 1e-3)
    )
    left_out = np.asarray(coarse) == 0
    assert 0.1 < np.mean(left_out) < 0.9
    assert np.max(np.asarray(fine)[left_out]) < 1e-4 * np.max(fine)
    np.testing.assert_allclose(coarse, fine, atol=1e-3 * np.max(fine))


@pytest.mark.parametrize("nodes_on", ["segments", "auto"])
def test_an_angle_that_is_no_number_gives_no_image(nodes_on):
    """Not a dark one: a likelihood would take that for an answer."""
    x, y = sky()
    image = jax.jit(lambda i: intensity(i, nodes_on, x, y))
    assert np.all(np.isnan(image(np.nan)))
    assert np.all(np.isfinite(image(88.0)))
