r"""
Two rolls, references and a coronagraph
=======================================

At the end you will have this: a disk behind a coronagraph, fitted in two rolls of the telescope at
once, while the starlight in them is left free.

.. image:: /tutorials/images/sphx_glr_plot_05_two_rolls_003.png
   :alt: two rolls with data, model and residuals

The exposures here are simulated, small, and as JWST takes them: two of the star, with the telescope
turned between them, and some of other stars. ``examples/fit_jwst_disk.py`` does the same with the
real ones of AU Mic. Rolls are position angles of the detector's +y axis (:doc:`/conventions`).
"""

# %%
# Simulated exposures
# -------------------
#
# The star's light is a pattern of speckles that changes a little from one exposure to another. The
# coronagraph holds back the disk's light near the star: this is its transmission.

import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
from scipy.ndimage import gaussian_filter

import grater
from pytreefit import Joint, Posterior, fit, laplace

SIZE, PIXEL, DISTANCE, ERROR = 41, 0.06, 40.0, 0.02  # pixels, arcsec, pc
rng = np.random.default_rng(2)
radius = np.hypot(*(np.mgrid[:SIZE, :SIZE] - SIZE // 2))


def speckles():
    """A smooth random pattern that is brighter towards the star."""
    pattern = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 1.2)
    return pattern / pattern.std() * np.exp(-radius / 9.0)


halo, modes = 6.0 * np.exp(-radius / 5.0) + speckles(), [speckles() for _ in range(3)]


def starlight(brightness):
    """Light of a star, whose speckles are another mixture in each exposure."""
    return brightness * (halo + sum(0.3 * rng.normal() * mode for mode in modes))


references = np.array([starlight(3.0) for _ in range(6)])
references += ERROR * rng.normal(size=references.shape)

disk = grater.Disk(
    semi_major_axis=28.0,
    inclination=75.0,
    position_angle=110.0,
    alpha_in=8.0,
    alpha_out=-5.0,
    scale_height=1.0,
    flux=250.0,
    phase=grater.HenyeyGreenstein(g=0.3),
    density_normalization="column",
)
grid = grater.Grid((SIZE, SIZE), PIXEL, DISTANCE)
coronagraph = 1.0 - np.exp(-((radius / 5.0) ** 2))
optics = {"psf": grater.GaussianPSF(fwhm=2.3), "transmission": coronagraph, "accuracy": 1e-3}
views = {
    "roll 1": grater.View(grid, roll=0.0, **optics),
    "roll 2": grater.View(grid, roll=15.0, **optics),
}
truth = grater.Scene(disk, view=views)
images = {
    name: truth.of(name).image() + starlight(1.0) + ERROR * rng.normal(size=grid.shape)
    for name in views
}

figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
shown = {
    "roll 1": images["roll 1"],
    "a reference": references[0] / 3.0,
    "transmission": coronagraph,
    "the disk in roll 1": truth.of("roll 1").image(),
}
for axis, (name, image) in zip(axes, shown.items(), strict=True):
    axis.imshow(np.arcsinh(10.0 * image), origin="lower", cmap="inferno")
    axis.set_title(name)
    axis.set_axis_off()
plt.show()

# %%
# What is usually done
# --------------------
#
# The references are scaled so that they fit the image as well as they can, and are subtracted. With
# them goes some of the disk, since the fit of the references knows nothing of a disk.

columns = np.column_stack([*(reference.ravel() for reference in references), np.ones(SIZE**2)])
used = (radius > 4.0).ravel()
subtracted = {}
for name, image in images.items():
    coefficients, *_ = np.linalg.lstsq(columns[used], np.ravel(image)[used], rcond=None)
    subtracted[name] = image - (columns @ coefficients).reshape(grid.shape)

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
real = truth.of("roll 1").image()
shown = {"subtracted": subtracted["roll 1"], "the disk": real, "lost": subtracted["roll 1"] - real}
for axis, (name, image) in zip(axes, shown.items(), strict=True):
    drawn = axis.imshow(np.where(radius > 4.0, image, np.nan), origin="lower", cmap="RdBu_r",
                        vmin=-0.1, vmax=0.1)  # fmt: skip
    axis.set_title(name)
    axis.set_axis_off()
figure.colorbar(drawn, ax=axes, shrink=0.8)
plt.show()

# %%
# The starlight as a part of the model
# ------------------------------------
#
# Here nothing is subtracted. Each exposure gets a :class:`~grater.Starlight` of its own, and the
# likelihood integrates over its coefficients while the disk is fitted. Each view is rendered in the
# detector's own frame, behind the coronagraph: no image is turned.


def observed(images, **more):
    """The images of both rolls, each with how it was taken."""
    more |= {"pixel_scale": PIXEL, "distance": DISTANCE}
    return {
        name: grater.Observation(
            image, ERROR, roll=float(views[name].grid.roll), view=name, **more
        ).mask_radius(inner=4.0)
        for name, image in images.items()
    }


data = observed(images, starlight=grater.Starlight(references, constant=True))
start = truth.set(
    {"disk.semi_major_axis": 25.0, "disk.inclination": 70.0, "disk.position_angle": 105.0}
)
priors = {
    "disk.semi_major_axis": (15.0, 45.0),
    "disk.inclination": (50.0, 88.0),
    "disk.position_angle": (80.0, 140.0),
    "disk.phase.g": (-0.5, 0.9),
    "disk.flux": dist.LogUniform(20.0, 2000.0),
}
posterior = Posterior(start, Joint(data).log_likelihood, priors)
best = fit(posterior, progress=False)
grater.plot_exposures(best.model, data)

# %%
# The third column is without any trace of the disk. For comparison, the same disk fitted to the
# subtracted images, as if nothing had been taken from it:

plain = observed(subtracted)
usual = fit(Posterior(start, Joint(plain).log_likelihood, priors), start=best, progress=False)
errors = laplace(posterior, best, method="fisher").std
print(f"{'':22s}{'truth':>9s}{'starlight free':>22s}{'subtracted':>12s}")
for name in posterior.names:
    free = f"{float(best.values[name]):.2f} +- {float(errors[name]):.2f}"
    print(f"{name:22s}{float(truth.get(name)):9.2f}{free:>22s}{float(usual.values[name]):12.2f}")

# %%
# The starlight that was found, with its coefficients and their errors:

found = data["roll 1"].best_starlight(best.model)
for name, value, variance in zip(
    found.names, found.coefficients, np.diag(found.covariance), strict=True
):
    print(f"{name:15s} {value:8.3f} +- {np.sqrt(variance):.3f}")

# %%
# With your own exposures
# -----------------------
#
# ``grater.Exposure.from_jwst("..._calints.fits", transmission="..._psfmask.fits")`` reads image,
# errors, flags, roll and star of one exposure. Its ``crop(181)`` cuts out the middle,
# ``observation(distance, starlight=light)`` and ``view(distance, psf=psf)`` make data and view
# (:doc:`/quickstart`). PSFs of JWST that depend on the place are in :doc:`/optics`.
#
# ``sample(posterior, key, start=best)`` goes on from the best model as in
# :doc:`/tutorials/plot_02_fits_image`; look at the correlation of the residuals first.
#
# Next: :doc:`/tutorials/plot_06_adi` is about sequences of frames in which the field turns.

# sphinx_gallery_thumbnail_number = 3
