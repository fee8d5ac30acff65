"""Draw docs/line_of_sight.svg: how a line of sight through a disk is cut into segments.

python docs/figures/line_of_sight.py
"""

import pathlib

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import grater
from grater.integrate import segments, surfaces
from grater.integrate.extents import measure_support, measure_wedge
from grater.integrate.rule import Rule

jax.config.update("jax_enable_x64", True)
TRUNCATION = 0.02
LIGHT, RING, LINE = "0.85", "#d95f02", "#1b4f9c"


def positions(disk, y, l):
    """Points of a line of sight in the plane through the star, y' and z in semi-major axes."""
    _, y_disk, z, _ = disk.geometry.scaled.place(disk.geometry.tilt, 0.0, y, l)
    return np.asarray(y_disk), np.asarray(z)


def draw_disk(axes, disk, support, wedge):
    """The density, the ellipses of the support and the wedge, cut along the minor axis."""
    y, z = np.linspace(-2.1, 2.1, 600), np.linspace(-0.75, 0.75, 300)
    q = np.maximum(np.abs(y), 1e-3)
    height = np.asarray(disk.vertical.height(jnp.asarray(q))) / float(disk.semi_major_axis)
    radial = np.asarray(disk.radial.density(jnp.asarray(q)))
    density = radial * np.asarray(disk.vertical.profile(jnp.abs(z[:, None]) / height))
    axes.contourf(y, z, density, levels=np.linspace(0.03, 1.0, 12), cmap="Greys", alpha=0.5)
    bound = np.sqrt(float(wedge.constant) + float(wedge.slope) * y**2)
    for sign in (-1, 1):
        axes.plot(y, sign * bound, color="0.3", lw=1)
    for level in (support.q_low, support.q_high):
        for sign in (-1, 1):
            axes.axvline(sign * float(level), color="0.3", lw=1, ls=":")
    for sign in (-1, 1):
        axes.axvline(sign * float(support.q_peak), color=RING, lw=1, ls="--")
    axes.plot(0, 0, marker="*", color="k", ms=9)
    axes.set(xlim=(y[0], y[-1]), ylim=(z[0], z[-1]), ylabel="z [a]")


def draw_segments(axes, disk, y):
    rule = Rule(1e-2, "segments")
    geometry, unit = disk.geometry.scaled, disk.semi_major_axis
    support = measure_support(disk.radial, TRUNCATION, jnp.float64)
    wedge = measure_wedge(disk.vertical, support, TRUNCATION, unit)

    def height(q):
        return disk.vertical.height(q) / unit

    draw_disk(axes, disk, support, wedge)
    lines = segments.cut_lines(geometry, support, wedge, height, jnp.zeros(1), jnp.array([y]))
    axes.plot(*positions(disk, y, jnp.linspace(-4, 4, 2)), color=LINE, lw=0.8)
    nodes = segments.gauss_legendre(rule.numbers[0])
    choice = segments.Choice(jnp.asarray(nodes[0].size), *map(jnp.asarray, nodes), jnp.zeros(()))
    for k in range(4):
        index = k * nodes[0].size + jnp.arange(nodes[0].size)
        l = jnp.concatenate([lines.node(choice, one)[0] for one in index])
        centre = lines.coordinates.centre[k // 2]
        ends = [lines.coordinates.at(v[k], centre)[0] for v in (lines.start, lines.end)]
        colour = LINE if k % 2 == 0 else "#5aa9e6"
        axes.plot(*positions(disk, y, jnp.concatenate(ends)), color=colour, lw=4, alpha=0.6)
        axes.plot(*positions(disk, y, l), "o", color=colour, ms=4, mec="k", mew=0.5)
    axes.set_title(
        "segments: inside of the wedge and between two ellipses", fontsize=10, loc="left"
    )


def draw_surfaces(axes, disk, y):
    geometry, unit = disk.geometry.scaled, disk.semi_major_axis
    support = measure_support(disk.radial, TRUNCATION, jnp.float64)
    draw_disk(axes, disk, support, measure_wedge(disk.vertical, support, TRUNCATION, unit))

    def height(q):
        return disk.vertical.height(q) / unit

    largest = jnp.asarray(2.0)
    steps = surfaces.Steps(largest, jnp.asarray(False), jnp.asarray(10))
    slabs = surfaces.cut_slabs(
        geometry, height, support.q_peak, largest, jnp.zeros(1), jnp.array([y])
    )
    axes.plot(*positions(disk, y, jnp.linspace(-4, 4, 2)), color=LINE, lw=0.8)
    t = jnp.asarray([steps.at(jnp.asarray(k))[0] for k in range(int(steps.number))])
    across = np.linspace(-2.1, 2.1, 400)
    for one in t:
        squared = slabs.height**2 + slabs.opening * (across**2 - slabs.crossing**2)
        axes.plot(across, float(one) * np.sqrt(np.maximum(squared, 0)), color="0.5", lw=0.7)
    l = jnp.concatenate([slabs.node(one)[0] for one in t])
    axes.plot(*positions(disk, y, l), "o", color=LINE, ms=4, mec="k", mew=0.5)
    axes.set_title("surfaces: a fixed number of scale heights each", fontsize=10, loc="left")
    axes.set(xlabel="y' [a], along the minor axis in the disk plane")


def main():
    common = dict(position_angle=0.0, alpha_in=8.0, alpha_out=-6.0, scale_height=4.0)
    figure, axes = plt.subplots(2, 1, figsize=(7.5, 6.4), sharex=True, layout="constrained")
    draw_segments(axes[0], grater.Disk(40.0, 82.0, **common), y=0.04)
    draw_surfaces(axes[1], grater.Disk(40.0, 60.0, **common), y=0.45)
    target = pathlib.Path(__file__).parents[1] / "line_of_sight.svg"
    figure.savefig(target)
    figure.savefig("/tmp/integrate/los.png", dpi=110)


if __name__ == "__main__":
    main()
