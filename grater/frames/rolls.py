"""A scene in many orientations of one detector, integrated as one image."""

import functools
import operator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pytreefit import jit
from pytreefit.extend import rebuild

from ..dust.disk import intensities
from ..integrate import Rule, in_turn
from ..view.view import View


def images_at(
    view: View, scene, angles: Float[Array, " n"], shifts: Float[Array, "n 2"]
) -> Float[Array, "n ny nx"]:
    """The images of a view that is turned and shifted, one for each frame.

    Frame k is rendered in its own pixels, at the roll ``grid.roll + angles[k]`` with the star at
    ``grid.center + shifts[k]``: nothing is rotated by interpolation. The lines of sight of all
    frames are integrated together, as one image of many rows, so that nodes are chosen once.

    Parameters
    ----------
    view
        Of one channel.
    scene
        What is on the sky.
    angles
        Degrees.
    shifts
        Pixels (x, y).
    """
    rule = Rule(view.accuracy, view.nodes_on)
    sky = scene.disks, scene.sources
    return in_turn(lambda rule: _images(view, *sky, angles, shifts, rule), rule, len(scene.disks))


@functools.partial(jit, threads=False)
def _images(view: View, disks, sources, angles, shifts, rule: Rule) -> Array:
    (channel,) = view.channels.values()

    def turned(angle, shift):
        grid = view.grid
        moved = {"center": grid.center + shift, "roll": grid.roll + angle}
        return rebuild(view, {"grid": rebuild(grid, moved, check=False)}, check=False)

    def coordinates(angle, shift):
        return turned(angle, shift).sky_coordinates(view.padding())

    def seen(angle, shift, light):
        return turned(angle, shift).seen(channel, light, sources)

    x, y, inside = jax.vmap(coordinates)(angles, shifts)
    frames, rows, columns = inside.shape
    x, y = (values.reshape(frames * rows, columns) for values in (x, y))
    parts = intensities(disks, x, y, rule, (channel.curve,))
    light = functools.reduce(operator.add, parts)[0].reshape(inside.shape)
    return jax.vmap(seen)(angles, shifts, jnp.where(inside, 0.0, light))
