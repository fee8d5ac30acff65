"""A scene in many orientations of one detector, integrated as one image."""

import functools
import operator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pytreefit import jit
from pytreefit.extend import rebuild

from .disk import intensities
from .integrate import Rule, in_turn
from .view import View


def images_at(
    view: View, disks, angles: Float[Array, " n"], shifts: Float[Array, "n 2"]
) -> Float[Array, "n ny nx"]:
    """The images of a view that is turned and shifted, one for each frame.

    Frame k is rendered in its own pixels, at the roll ``view.roll + angles[k]`` with the star at
    ``view.grid.center + shifts[k]``: nothing is rotated by interpolation. The lines of sight of
    all frames are integrated together, as one image of many rows, so that nodes are chosen once.

    Parameters
    ----------
    view
        Of one channel.
    disks
        What is on the sky.
    angles
        Degrees.
    shifts
        Pixels (x, y).
    """
    rule = Rule(view.accuracy, view.nodes_on)
    return in_turn(lambda rule: _images(view, disks, angles, shifts, rule), rule, len(disks))


@functools.partial(jit, threads=False)
def _images(view: View, disks, angles, shifts, rule: Rule) -> Array:
    padding = view.padding()
    (channel,) = view.channels.values()

    def coordinates(angle, shift):
        grid = rebuild(view.grid, {"center": view.grid.center + shift}, check=False)
        turned = rebuild(view, {"roll": view.roll + angle, "grid": grid}, check=False)
        return turned.sky_coordinates(padding)

    x, y, inside = jax.vmap(coordinates)(angles, shifts)
    frames, rows, columns = inside.shape
    x, y = (values.reshape(frames * rows, columns) for values in (x, y))
    parts = intensities(disks, x, y, rule, (channel.curve,))
    light = functools.reduce(operator.add, parts)[0].reshape(inside.shape)
    light, n = jnp.where(inside, 0.0, light), view.oversample
    if n > 1:
        light = light.reshape(frames, rows // n, n, columns // n, n).mean(axis=(2, 4))
    return jax.vmap(lambda sharp: channel.through(sharp, padding))(light)
