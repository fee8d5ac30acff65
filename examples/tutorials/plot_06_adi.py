r"""
ADI and KLIP
============

At the end you will have this: a disk that was hidden below speckles, fitted in the frames
themselves and shown in the picture that KLIP makes of them.

.. image:: /tutorials/images/sphx_glr_plot_06_adi_002.png
   :alt: what KLIP leaves of frames, model, and residuals

In angular differential imaging the field turns on the detector while the speckles stay. KLIP learns
the speckles from the frames and subtracts them, with some of the disk. A fit to the picture that is
left finds another disk; a fit to the frames knows what was subtracted. Angles are those of VIP's
``angle_list`` (:doc:`/conventions`).
"""

# %%
# Simulated frames
# ----------------
#
# A dozen frames, in which the field turns by 60 degrees, and speckles that change slowly.

import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
from scipy.ndimage import gaussian_filter

import grater
from pytreefit import Posterior, laplace

SIZE, FRAMES = 41, 12
SETUP = {"pixel_scale": 0.05, "distance": 70.0}
rng = np.random.default_rng(5)
radius = np.hypot(*(np.mgrid[:SIZE, :SIZE] - SIZE // 2))
patterns = [
    gaussian_filter(rng.normal(size=(SIZE, SIZE)), 1.2) * np.exp(-radius / 12.0) for _ in range(3)
]
patterns[0] = np.abs(patterns[0]) + 0.2 * np.exp(-radius / 10.0)
course = np.linspace(-1.0, 1.0, FRAMES)
weights = np.stack([4.0 + 0.3 * course, course, course**2 - 0.4], axis=1)
speckles = 8.0 * np.tensordot(weights, patterns, axes=1)

disk = grater.Disk(
    semi_major_axis=45.0,
    inclination=70.0,
    position_angle=30.0,
    alpha_in=10.0,
    alpha_out=-6.0,
    scale_height=1.5,
    flux=2000.0,
    phase=grater.HenyeyGreenstein(g=0.3),
    density_normalization="column",
)
grid = grater.Grid((SIZE, SIZE), **SETUP)
truth = grater.Scene(disk, grid=grid, psf=grater.GaussianPSF(fwhm=2.5), accuracy=1e-3)
error = 0.1
empty = grater.FrameSequence(
    speckles + error * rng.normal(size=speckles.shape),
    error,
    angles=np.linspace(0.0, 60.0, FRAMES),
    **SETUP,
)
frames = grater.inject(empty, truth).mask_radius(inner=5.0, outer=19.0)
print(frames)

# %%
# The first two pictures have the same scale. The disk cannot be seen in a frame. In the last
# picture the speckles were subtracted by KLIP, and the frames turned and averaged.

learned = frames.learn(grater.KLIP(modes=3, annuli=(5, 19)))
models = frames.models(truth)
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
shown = {"one frame": frames.image[0], "the disk in it": models[0], "KLIP": learned.reduce()}
for axis, (name, image) in zip(axes, shown.items(), strict=True):
    limit = 1.0 if name == "KLIP" else 6.0
    axis.imshow(image, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set_title(name)
    axis.set_axis_off()
plt.show()

# %%
# Fit the frames
# --------------
#
# ``fit_frames`` fits the disk, learns the speckles anew from the frames without the best disk, and
# fits again, until nothing moves any more.

priors = {
    "disk.semi_major_axis": (25.0, 65.0),
    "disk.inclination": (40.0, 88.0),
    "disk.position_angle": (0.0, 60.0),
    "disk.phase.g": (-0.5, 0.9),
    "disk.flux": dist.LogUniform(100.0, 20000.0),
}
start = truth.set({"disk.inclination": 65.0, "disk.position_angle": 35.0, "disk.phase.g": 0.1})
found = grater.fit_frames(Posterior(start, learned.log_likelihood, priors), progress=False)
print(found.message)
errors = laplace(found.posterior, found.best).std
for name in priors:
    value, width = float(found.best.values[name]), float(errors[name])
    print(f"{name:22s} {value:9.2f} +- {width:6.2f}   truth {float(truth.get(name)):9.2f}")

# %%
# For a figure, the model goes the same way as the frames: what KLIP takes of it is missing in both.

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
fitted = found.frames.models(found.best.model)
shown = {
    "frames": found.frames.reduce(),
    "model": found.frames.reduce(fitted),
    "residual": found.frames.reduce(found.frames.image - fitted),
}
for axis, (name, image) in zip(axes, shown.items(), strict=True):
    drawn = axis.imshow(image, origin="lower", cmap="RdBu_r", vmin=-1.0, vmax=1.0)
    axis.set_title(name)
    axis.set_axis_off()
figure.colorbar(drawn, ax=axes, shrink=0.8)
plt.show()

# %%
# Are the errors right?
# ---------------------
#
# Put the disk in at other angles, fit each copy, and see by how much the fits are off. Two copies
# are enough for this page and too few for a paper.

copies = grater.inject_and_fit(
    found.frames,
    found.best.model,
    priors,
    turns=[70.0, 110.0],
    remove=found.best.model,
    progress=False,
)
print(copies.summary())

# %%
# Your own frames
# ---------------
#
# ``grater.FrameSequence(cube, error, angles=angles, pixel_scale=..., distance=...)`` takes VIP's
# ``angle_list`` as it is, and pyKLIP's ``PAs`` of data with ``flipx=False``. With frames of other
# stars give ``references=`` and ``KLIP(library="references")``. A picture that was reduced
# elsewhere can be fitted with :class:`~grater.ReducedFrames` if the frames are at hand. See
# :doc:`/quickstart`.
#
# Next: :doc:`/tutorials/plot_02_fits_image` samples a posterior, which works the same for frames:
# ``sample(found.posterior, key, start=found.best)``.

# sphinx_gallery_thumbnail_number = 2
