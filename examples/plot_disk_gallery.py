"""
Inclination and phase function
==============================

The same ring of dust, seen at four inclinations and with three ways of scattering light. The images
are brightest where the dust is close to the star, where the line of sight runs along the ring, and,
if the dust scatters forward, on the side that is nearer to us: to the West (right), for a position
angle of 0.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np

import grater

grid = grater.Grid(shape=(71, 71), pixel_scale=0.03, distance=70.0)  # arcsec per pixel, pc
disk = grater.Disk(
    semi_major_axis=50.0,
    inclination=0.0,
    position_angle=0.0,
    alpha_in=12.0,
    alpha_out=-6.0,
    scale_height=1.5,
)
scene = grater.Scene(disk, grid=grid, psf=grater.GaussianPSF(fwhm=2.0))

phases = {
    "isotropic": grater.Isotropic(),
    "forward, $g = 0.4$": grater.HenyeyGreenstein(g=0.4),
    "forward, polarised": grater.Polarized(grater.HenyeyGreenstein(g=0.4)),
}
inclinations = [0.0, 45.0, 75.0, 90.0]

# %%
# A scene is changed by name: ``set`` gives a new one, with another inclination or another phase
# function, and leaves the old one as it was. ``jax.jit`` compiles the rendering once for each kind
# of phase function; after that an image takes milliseconds.

render = jax.jit(grater.Scene.image)
figure, axes = plt.subplots(
    len(phases), len(inclinations), figsize=(8, 6), sharex=True, sharey=True, layout="constrained"
)
half = 0.5 * 71 * 0.03
for row, (name, phase) in zip(axes, phases.items(), strict=True):
    for axis, inclination in zip(row, inclinations, strict=True):
        image = render(scene.set({"disk.phase": phase, "disk.inclination": inclination}))
        axis.imshow(
            np.sqrt(np.clip(image / image.max(), 0.0, 1.0)),
            origin="lower",
            cmap="inferno",
            extent=(half, -half, -half, half),  # right ascension grows to the East, the left
        )
        if phase is phases["isotropic"]:
            axis.set_title(f"$i$ = {inclination:g}°")
    row[0].set_ylabel(f"{name}\nNorth offset (arcsec)")
for axis in axes[-1]:
    axis.set_xlabel("East offset (arcsec)")
plt.show()

# %%
# Each phase function that was used, in the normalisation that a disk gives it: the same integral
# over the sphere. The grey band is what a disk inclined by 75 deg shows.

angle = np.linspace(0.0, 180.0, 181)
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
for name, phase in phases.items():
    curve = phase.factor("sphere") * phase(np.cos(np.deg2rad(angle[1:-1])))
    axis.semilogy(angle[1:-1], curve, label=name)
axis.axvspan(15.0, 165.0, color="0.93", zorder=0)
axis.set(xlabel="scattering angle (deg)", ylabel="phase function (1/sr)", xlim=(0, 180))
axis.legend()
plt.show()
