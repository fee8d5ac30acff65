r"""
A disk from nothing
===================

At the end you will have this: what each parameter of a debris disk does to its image, and how
the image changes where you change a parameter a little.

.. image:: /tutorials/images/sphx_glr_plot_01_disk_003.png
   :alt: derivatives of an image of a disk

You need NumPy and matplotlib. Lengths are in au, angles in degrees, North is up and East is left
(:doc:`/conventions`).
"""

# %%
# A disk and a telescope
# ----------------------
#
# A disk is a ring of dust around a star. Its density rises towards the ring as one power of the
# radius, and falls outside of it as another. The telescope is a grid of pixels, and a point spread
# function (PSF). Disk and telescope make a scene.

import jax
import matplotlib.pyplot as plt
import numpy as np

import grater
import pytreefit

disk = grater.Disk(
    semi_major_axis=50.0,  # au
    inclination=65.0,  # deg, 0 is face-on
    position_angle=30.0,  # deg, of the major axis, from North to East
    alpha_in=10.0,  # slope of the density inside of the ring
    alpha_out=-6.0,  # and outside
    scale_height=2.0,  # au
    flux=1000.0,
    phase=grater.HenyeyGreenstein(g=0.3),  # how the dust scatters light
)
grid = grater.Grid(shape=(61, 61), pixel_scale=0.035, distance=70.0)  # arcsec per pixel, pc
scene = grater.Scene(disk, grid=grid, psf=grater.GaussianPSF(fwhm=2.5))  # pixels
grater.plot_image(scene)

# %%
# The image itself is an array of (rows, columns), and each number of the model has a name:

image = scene.image()
print(image.shape, image.max())
print(scene.parameters())

# %%
# A model never changes. ``set`` makes a new one, with other values, and leaves the old one as it
# was. Values that cannot be, and names that do not exist, are refused:

edge_on = scene.set({"disk.inclination": 90.0, "psf.fwhm": 1.5})
print(edge_on.get("disk.inclination"), scene.get("disk.inclination"))
try:
    scene.set({"disk.inclinaton": 90.0})
except (ValueError, KeyError, AttributeError) as error:
    print(error)

# %%
# What each parameter does
# ------------------------
#
# In each set of three images one parameter changes, all else is as above. ``offset_x`` and
# ``offset_y`` shift a circular ring in its own plane. Slopes and heights are seen best at the two
# ends of the ring, the ansae, where the line of sight runs along it.

changes = {
    "disk.semi_major_axis": (30.0, 50.0, 65.0),
    "disk.inclination": (0.0, 50.0, 88.0),
    "disk.position_angle": (0.0, 45.0, 120.0),
    "disk.phase.g": (-0.3, 0.0, 0.6),
    "disk.eccentricity": (0.0, 0.2, 0.4),
    "disk.argument_of_pericenter": (0.0, 90.0, 180.0),
    "disk.offset_x": (-10.0, 0.0, 10.0),
    "disk.offset_y": (-10.0, 0.0, 10.0),
    "disk.radial.alpha_in": (2.0, 5.0, 20.0),
    "disk.radial.alpha_out": (-2.0, -5.0, -20.0),
    "disk.vertical.scale_height": (0.5, 3.0, 8.0),
    "psf.fwhm": (1.0, 3.0, 6.0),
}
render = pytreefit.jit(grater.Scene.image)  # compiled once, then an image takes milliseconds
figure, axes = plt.subplots(6, 6, figsize=(9, 9.6), layout="constrained")
for cells, (name, values) in zip(axes.reshape(12, 3), changes.items(), strict=True):
    for cell, value in zip(cells, values, strict=True):
        extra = {"disk.eccentricity": 0.3} if "pericenter" in name else {}
        image = render(scene.set({name: value, **extra}))
        cell.imshow(np.sqrt(np.clip(image / image.max(), 0, 1)), origin="lower", cmap="inferno")
        cell.set_title(f"{value:g}", fontsize=8, pad=2)
        cell.set_axis_off()
    cells[1].set_title(f"{name.removeprefix('disk.')}\n{values[1]:g}", fontsize=8, pad=2)
plt.show()

# %%
# A shift along the minor axis looks much like a slightly different inclination. Such pairs of
# parameters cannot be told apart by eye. A posterior shows how well they can be.

# %%
# Derivatives
# -----------
#
# The image can be differentiated with respect to each parameter, which is why fits are fast. In
# blue places the image gets fainter as the parameter grows, in red ones brighter. Where two of
# these pictures look alike, or one the negative of the other, the two parameters are hard to tell
# apart.

names = [
    "disk.semi_major_axis",
    "disk.inclination",
    "disk.position_angle",
    "disk.offset_y",
    "disk.phase.g",
    "disk.vertical.scale_height",
]
values = np.array([scene.get(name) for name in names])


def image_of(values):
    return scene.set(dict(zip(names, values, strict=True))).image()


slopes = np.asarray(pytreefit.jit(jax.jacfwd(image_of))(values))  # (rows, columns, parameters)
figure, axes = plt.subplots(2, 3, figsize=(8, 5.6), layout="constrained")
for axis, name, slope in zip(axes.flat, names, np.moveaxis(slopes, -1, 0), strict=True):
    largest = np.abs(slope).max()
    axis.imshow(slope, origin="lower", cmap="RdBu_r", vmin=-largest, vmax=largest)
    axis.set_title(name.removeprefix("disk."))
    axis.set_axis_off()
plt.show()

# %%
# Phase functions
# ---------------
#
# How much light the dust scatters depends on the angle by which it is deflected: 0 is forward,
# towards us from behind. A disk shows the range of angles in grey, and no other. Free curves
# (:class:`~grater.SplinePhase`) have values of their own at some knots, and fit any dust.

phases = {
    "isotropic": grater.Isotropic(),
    "forward, $g = 0.4$": grater.HenyeyGreenstein(g=0.4),
    "polarised": grater.Polarized(grater.HenyeyGreenstein(g=0.4)),
}
figure = plt.figure(figsize=(9, 5.4), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=(1.1, 1))
for axis, (name, phase) in zip(top.subplots(1, 3), phases.items(), strict=True):
    image = render(scene.set({"disk.phase": phase}))
    axis.imshow(np.sqrt(np.clip(image / image.max(), 0, 1)), origin="lower", cmap="inferno")
    axis.set_title(name)
    axis.set_axis_off()
axis = bottom.subplots()
angle = np.linspace(1.0, 179.0, 179)
for name, phase in phases.items():
    curve = phase.factor("sphere") * phase(np.cos(np.deg2rad(angle)))
    axis.semilogy(angle, curve, label=name)
axis.axvspan(90.0 - 65.0, 90.0 + 65.0, color="0.93", zorder=0)
axis.set(xlabel="scattering angle (deg)", ylabel="phase function (1/sr)", xlim=(0, 180))
axis.legend()
plt.show()

# %%
# Point spread functions
# ----------------------
#
# A Gaussian is a first guess. A Moffat function has wings, and an image of a star
# (:class:`~grater.ImagePSF`) has everything. Here the "star" is made up, with a bright ring.

y, x = np.mgrid[-12:13, -12:13]
radius = np.hypot(x, y)
star = np.exp(-((radius / 1.5) ** 2)) + 0.06 * np.exp(-((radius - 7.0) ** 2))
psfs = {
    "Gaussian": grater.GaussianPSF(fwhm=2.5),
    "Moffat": grater.MoffatPSF(fwhm=2.5, beta=1.8),
    "image of a star": grater.ImagePSF(star),
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for axis, (name, psf) in zip(axes, psfs.items(), strict=True):
    image = grater.Scene(disk, grid=grid, psf=psf).image()
    axis.imshow(np.sqrt(np.clip(image / image.max(), 0, 1)), origin="lower", cmap="inferno")
    axis.set_title(name)
    axis.set_axis_off()
plt.show()

# %%
# Where to go from here
# ---------------------
#
# :doc:`/tutorials/plot_02_fits_image` fits such a disk to an image. :doc:`/conventions` has the
# equations, :doc:`/quickstart` companions, clumps and edges, :doc:`/optics` PSFs that depend on the
# place, and :doc:`/write_your_own` profiles and phase functions of your own.

# sphinx_gallery_thumbnail_number = 2
