r"""
ADI and KLIP
============

At the end you will have this: a disk fitted to a sequence of frames in which the field turns and
the starlight stays, with what KLIP takes of the disk as a part of the model.

.. image:: /tutorials/images/sphx_glr_plot_06_adi_003.png
   :alt: the picture after KLIP, the model as that picture shows it, and what is left

In angular differential imaging (ADI) the frames themselves say what is starlight: it stays on the
detector while the disk turns. KLIP describes it by the principal components of the frames. The
frames hold the disk too, so that some of the disk goes with the starlight.

The frames here are simulated, few and small. Their angles are position angles of the detector's +y
axis (:doc:`/conventions`).
"""

# %%
# Simulated frames
# ----------------
#
# Sixteen frames, while the field turns by 60 degrees. The starlight is a halo and a pattern of
# speckles that changes from frame to frame. It is much brighter than the disk.

import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
from scipy.ndimage import gaussian_filter

import grater
from pytreefit import Posterior, fit, laplace

SIZE, FRAMES, ERROR = 41, 16, 0.1
PIXELS = {"pixel_scale": 0.05, "distance": 70.0}  # arcsec, pc
rng = np.random.default_rng(6)
radius = np.hypot(*(np.mgrid[:SIZE, :SIZE] - SIZE // 2))
angles = np.linspace(-30.0, 30.0, FRAMES)


def speckles():
    """A smooth random pattern that is brighter towards the star."""
    pattern = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 1.2)
    return pattern / pattern.std() * np.exp(-radius / 12.0)


def course():
    """How bright a pattern is in each frame: neighbours are alike."""
    course = gaussian_filter(rng.normal(size=FRAMES), 1.0)
    return 1.5 * course / course.std()


halo = 20.0 * np.exp(-radius / 6.0) + 2.0 * speckles()
starlight = halo + sum(course()[:, None, None] * speckles() for _ in range(3))

disk = grater.Disk(
    semi_major_axis=45.0,
    inclination=72.0,
    position_angle=40.0,
    alpha_in=10.0,
    alpha_out=-5.0,
    scale_height=1.5,
    flux=2500.0,
    phase=grater.HenyeyGreenstein(g=0.3),
    density_normalization="column",
)
truth = grater.Scene(
    disk,
    grid=grater.Grid((SIZE, SIZE), **PIXELS),
    psf=grater.GaussianPSF(fwhm=2.5),
    accuracy=1e-3,
    nodes_on="surfaces",  # this page compiles sooner with it; leave it out for your own frames
)
sequence = grater.FrameSequence(starlight, ERROR, angles=angles, **PIXELS)
frames = grater.inject(sequence, truth)  # adds the disk to each frame, at its own angle
noise = ERROR * rng.normal(size=starlight.shape)
frames = frames.set({"image": frames.image + noise})
print(frames)

figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
turned = frames.models(truth)
shown = {
    "first frame": frames.image[0],
    "last frame": frames.image[-1],
    "the disk in the first": turned[0],
    "and in the last": turned[-1],
}
for axis, (name, image) in zip(axes, shown.items(), strict=True):
    axis.imshow(np.arcsinh(10.0 * np.asarray(image)), origin="lower", cmap="inferno")
    axis.set_title(name)
    axis.set_axis_off()
plt.show()

# %%
# What is usually done
# --------------------
#
# For each frame, components are learned from those frames in which the disk has moved by two pixels
# at least. What they describe is subtracted, the frames are turned North up, and averaged.

klip = grater.KLIP(modes=5, annuli=(4, 20), movement=2.0)  # radii and movement in pixels
picture = np.asarray(frames.learn(klip).reduce())


def draw(images):
    """Pictures side by side on one scale."""
    figure, axes = plt.subplots(1, len(images), figsize=(9, 3.2), layout="constrained")
    for axis, (name, image) in zip(axes, images.items(), strict=True):
        drawn = axis.imshow(image, origin="lower", cmap="RdBu_r", vmin=-0.3, vmax=0.3)
        axis.set_title(name)
        axis.set_axis_off()
    figure.colorbar(drawn, ax=axes, shrink=0.8)


real = np.where(np.isfinite(picture), truth.image(), np.nan)
draw({"after KLIP": picture, "the disk": real, "lost": picture - real})
plt.show()

# %%
# Faint parts are gone, bright ones are thinner and fainter than they are, and beside them the
# picture is negative. This is what a fit to the picture, as if nothing had been lost, makes of it.
# Its noise is the scatter in rings about the star:

priors = {
    "disk.semi_major_axis": (30.0, 60.0),
    "disk.inclination": (40.0, 88.0),
    "disk.position_angle": (10.0, 70.0),
    "disk.phase.g": (-0.5, 0.9),
    "disk.flux": dist.LogUniform(100.0, 1e5),
    "noise.scale": dist.LogUniform(0.1, 10.0),
}
start = truth.set(
    {"disk.semi_major_axis": 40.0, "disk.inclination": 65.0, "disk.position_angle": 35.0}
)
reduced = grater.Observation(picture, grater.noise_map(picture), **PIXELS).mask_radius(6.0, 18.0)
usual = fit(Posterior(start, reduced.log_likelihood, priors), progress=False)
print(usual.summary())

# %%
# The loss as a part of the model
# -------------------------------
#
# Fit the frames, not the picture. The disk is rendered in each frame and subtracted before the
# components are projected out, so that what they take of it is known. What they hold of it is not:
# ``fit_frames`` learns them anew from the frames without the best disk, fits again, and so on until
# the fit stays where it is. All frames share their components here, without a ``movement``.

learned = frames.learn(grater.KLIP(modes=5, annuli=(4, 20)))
found = grater.fit_frames(Posterior(start, learned.log_likelihood, priors), progress=False)
print(found.message)
errors = laplace(found.posterior, found.best, method="fisher").std
print(f"{'':22s}{'truth':>9s}{'frames':>22s}{'picture':>12s}")
for name in priors:
    good = f"{float(found.best.values[name]):.2f} +- {float(errors[name]):.2f}"
    print(f"{name:22s}{float(truth.get(name)):9.2f}{good:>22s}{float(usual.values[name]):12.2f}")

# %%
# ``reduce`` makes the picture of anything that is given in place of the frames. Here are the frames
# with the last components, the model as their picture shows it, and what is left:

model = found.frames.models(found.best.model)
draw({
    "after KLIP": found.frames.reduce(),
    "the model after KLIP": found.frames.reduce(model),
    "left": found.frames.reduce(found.frames.image - model),
})  # fmt: skip
plt.show()

# %%
# With your own frames
# --------------------
#
# - Not turned, and not subtracted. ``angles`` is VIP's ``angle_list`` or pyKLIP's ``PAs``;
#   :class:`~grater.FrameSequence` says which of them have to be flipped.
# - The error of a pixel: photon and read noise, without the speckles.
# - Try several numbers of ``modes``. Speckles that are too faint to be learned are left as noise
#   that is correlated, and then the errors are too small. ``grater.inject_and_fit`` puts the disk
#   in at other angles and fits each copy: their scatter is the error of the whole analysis.
# - With frames of other stars, ``FrameSequence(references=...)`` and
#   ``KLIP(library="references")``, nothing is learned from the disk at all.
# - Of a picture that was made elsewhere, see :class:`~grater.ReducedFrames`.
#
# ``sample(found.posterior, key, start=found.best)`` goes on as in
# :doc:`/tutorials/plot_02_fits_image`.
#
# Next: :doc:`/tutorials/plot_07_polarised` fits several images of one disk at once.

# sphinx_gallery_thumbnail_number = 3
