"""Draw docs/images/line_of_sight.svg: where a line of sight through a disk gets its nodes.

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
from pytreefit.extend import gauss_legendre

jax.config.update("jax_enable_x64", True)
TRUNCATION = 0.02
ACROSS = np.linspace(-2.1, 2.1, 420)
RING, SHADES = "#d95f02", ("#1b4f9c", "#5aa9e6")


class Cut:
    """A disk and one of its lines of sight, cut along the minor axis; lengths in a."""

    def __init__(self, axes, inclination, y):
        self.axes, self.y = axes, jnp.array([y])
        self.disk = grater.Disk(
            40.0, inclination, 0.0, alpha_in=8.0, alpha_out=-6.0, scale_height=4.0
        )
        self.geometry = self.disk.geometry.scaled
        self.support = measure_support(self.disk.radial, TRUNCATION, jnp.float64)
        unit = self.disk.semi_major_axis
        self.wedge = measure_wedge(self.disk.vertical, self.support, TRUNCATION, unit)

    def height(self, q):
        return self.disk.vertical.height(q) / self.disk.semi_major_axis

    def draw(self, l, *style, **more):
        _, y_disk, z, _ = self.geometry.place(self.geometry.tilt, 0.0, self.y, l)
        self.axes.plot(np.asarray(y_disk), np.asarray(z), *style, **more)

    def draw_disk(self):
        z = np.linspace(-0.6, 0.6, 120)
        q = jnp.maximum(jnp.abs(ACROSS), 1e-3)
        density = self.disk.radial.density(q) * self.disk.vertical.profile(
            jnp.abs(z[:, None]) / self.height(q)
        )
        box = (ACROSS[0], ACROSS[-1], z[0], z[-1])
        self.axes.imshow(density, cmap="Greys", vmax=2.0, origin="lower", extent=box, aspect="auto")
        bound = np.sqrt(float(self.wedge.constant) + float(self.wedge.slope) * ACROSS**2)
        self.axes.plot(ACROSS, bound, "k", ACROSS, -bound, "k", lw=1)
        for name, level in zip(("low", "peak", "high"), self.support, strict=False):
            style = dict(color=RING, ls="--") if name == "peak" else dict(color="0.3", ls=":")
            for sign in (-1, 1):
                self.axes.axvline(sign * float(level), lw=1, **style)
            self.axes.text(float(level) + 0.02, -0.57, f"$q_{{{name}}}$", color=style["color"])
        self.axes.text(-2.05, 0.45, "$|z| = K h$")
        self.axes.plot(0, 0, "k*", ms=9)
        self.axes.set(xlim=box[:2], ylim=box[2:], ylabel="z [a]")
        self.draw(jnp.linspace(-4, 4, 2), color=SHADES[0], lw=0.8)


def draw_segments(axes):
    cut = Cut(axes, inclination=82.0, y=0.04)
    cut.draw_disk()
    place = cut.geometry, cut.support, cut.wedge, cut.height
    lines = segments.cut_lines(*place, jnp.zeros(1), cut.y)
    fractions, weights = (jnp.asarray(part) for part in gauss_legendre(8, 0.0, 1.0))
    choice = segments.Choice(jnp.asarray(8), fractions, weights, jnp.zeros(()))
    for k in range(4):
        centre = lines.coordinates.centre[k // 2]
        ends = [lines.coordinates.at(v[k], centre)[0] for v in (lines.start, lines.end)]
        cut.draw(jnp.concatenate(ends), color=SHADES[k % 2], lw=4, alpha=0.6)
        l = jnp.concatenate([lines.node(choice, 8 * k + jnp.asarray(n))[0] for n in range(8)])
        cut.draw(l, "o", color=SHADES[k % 2], ms=4, mec="k", mew=0.5)
    axes.annotate("observer", (2.1, 0.255), (1.8, 0.42), arrowprops={"arrowstyle": "->"})
    axes.set_title("segments: inside of the wedge, between two ellipses", fontsize=10, loc="left")


def draw_surfaces(axes):
    cut = Cut(axes, inclination=60.0, y=0.45)
    cut.draw_disk()
    steps = surfaces.Steps(jnp.asarray(2.0), jnp.asarray(False), jnp.asarray(10))
    place = cut.geometry, cut.height, cut.support.q_peak, steps.largest
    slabs = surfaces.cut_slabs(*place, jnp.zeros(1), cut.y)
    for k in range(9):
        t, _ = steps.at(jnp.asarray(k))
        squared = slabs.height**2 + slabs.opening * (ACROSS**2 - slabs.crossing**2)
        axes.plot(ACROSS, float(t) * np.sqrt(np.maximum(squared, 0)), color="0.5", lw=0.7)
        cut.draw(slabs.node(t)[0], "o", color=SHADES[0], ms=4, mec="k", mew=0.5)
    axes.set_title("surfaces: at fixed numbers of scale heights", fontsize=10, loc="left")
    axes.set(xlabel="y' [a], along the minor axis in the disk plane")


def main():
    figure, axes = plt.subplots(2, 1, figsize=(7.5, 6.0), sharex=True, layout="constrained")
    draw_segments(axes[0])
    draw_surfaces(axes[1])
    figure.savefig(pathlib.Path(__file__).parents[1] / "images" / "line_of_sight.svg")
    return figure


if __name__ == "__main__":
    main()
