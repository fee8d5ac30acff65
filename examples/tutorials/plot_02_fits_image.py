r"""
A FITS image to a posterior
===========================

At the end you will have this from a FITS file: a model of the disk in it, what the model leaves, a
table with error bars, and how the parameters depend on each other.

.. image:: /tutorials/images/sphx_glr_plot_02_fits_image_002.png
   :alt: data, model and residuals of a disk

The image here is simulated, so that you can see whether the right values come out. The last section
says what changes with a file of your own. Angles and signs are those of :doc:`/conventions`.
"""

# %%
# A simulated file
# ----------------
#
# The file has the image, its noise map, and a header with the pixel scale, North and the star. As
# in real images the noise grows towards the star, and neighbouring pixels share some of it.

import tempfile
from pathlib import Path

import jax
import numpy as np
import numpyro.distributions as dist
from astropy.io import fits
from scipy.ndimage import gaussian_filter

import grater
from pytreefit import Posterior, Samples, fit, sample

PIXEL, DISTANCE, SIZE = 0.05, 70.0, 41  # arcsec, pc, pixels
disk = grater.Disk(
    semi_major_axis=45.0,
    inclination=70.0,
    position_angle=30.0,
    alpha_in=10.0,
    alpha_out=-5.0,
    scale_height=1.5,
    flux=900.0,
    phase=grater.HenyeyGreenstein(g=0.3),
    density_normalization="column",
)
psf = grater.GaussianPSF(fwhm=2.5)
truth = grater.Scene(disk, grid=grater.Grid((SIZE, SIZE), PIXEL, DISTANCE), psf=psf)

rng = np.random.default_rng(4)
radius = np.hypot(*(np.mgrid[:SIZE, :SIZE] - SIZE // 2))
error = 0.01 + 0.1 * np.exp(-radius / 4.0)
smooth = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 1.0, mode="wrap")
noise = error * (0.9 * smooth / smooth.std() + 0.45 * rng.normal(size=(SIZE, SIZE)))

primary = fits.PrimaryHDU(np.asarray(truth.image() + noise))
primary.header.update(
    CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CUNIT1="deg", CUNIT2="deg", BUNIT="mJy/arcsec2",
    CDELT1=-PIXEL / 3600, CDELT2=PIXEL / 3600,  # East is left, North is up
    PSFCENTX=SIZE // 2, PSFCENTY=SIZE // 2,  # the star, zero-based
)  # fmt: skip
folder = Path(tempfile.mkdtemp())
fits.HDUList([primary, fits.ImageHDU(error, name="ERR")]).writeto(folder / "disk.fits")

# %%
# Read it
# -------
#
# The distance is not in the header. What is near the star, under the coronagraph, is left out.

data = grater.Observation.from_fits(folder / "disk.fits", distance=DISTANCE, error_hdu="ERR")
data = data.mask_radius(inner=4.0)  # pixels
print(data)
grater.plot_image(data)

# %%
# Find the disk
# -------------
#
# ``search`` needs no first guess. It compares rings of all sizes and orientations with the image,
# and fits the best of them. The scene says what the disk is made of, and how it is seen.

rough = grater.Scene(
    grater.Disk(
        50.0,
        60.0,
        0.0,
        alpha_in=8.0,
        alpha_out=-5.0,
        scale_height=1.5,
        phase=grater.HenyeyGreenstein(g=0.1),
        density_normalization="column",
    ),
    grid=data.grid,
    psf=psf,
    nodes_on="surfaces",  # this page compiles sooner with it; leave it out for your own file
)
found = grater.search(data, rough, number=4, progress=False)  # more are safer: 12 by default
print(found.table())
print(found.flags or "nothing to doubt")
grater.plot_fit(found.best.model, data)

# %%
# Is the noise what the fit takes it for?
# ---------------------------------------
#
# The residuals have no structure that looks like a disk. But this fit took each pixel for
# independent of its neighbours, and they are not: the correlation off the centre should be 0. Error
# bars would be too small. So the noise gets a correlation, as measured in these residuals.

before = grater.residual_correlation(found.best.model, data)
noise = grater.CorrelatedNoise.of_residuals(found.best.model, data)
print(noise.parameters())
grater.plot_correlation(before)

# %%
# Fit it
# ------
#
# What has a prior is fitted; a pair is (lowest, highest). All else stays as it is in the start.
# With ``noise.scale`` the noise map may be wrong by a factor, as it often is.

priors = {
    "disk.semi_major_axis": (30.0, 60.0),
    "disk.inclination": (50.0, 89.0),
    "disk.position_angle": (0.0, 60.0),
    "disk.radial.alpha_in": dist.LogUniform(2.0, 60.0),
    "disk.radial.alpha_out": (-20.0, -1.5),
    "disk.offset_x": dist.Normal(0.0, 3.0),
    "disk.phase.g": (-0.9, 0.9),
    "disk.flux": dist.LogUniform(90.0, 9000.0),
    "noise.scale": dist.LogUniform(0.2, 5.0),
}
start = found.best.model.set({"noise": noise})
posterior = Posterior(start, data.log_likelihood, priors)
best = fit(posterior, progress=False)
print(best.summary())
after = grater.residual_correlation(best.model, data)
grater.plot_correlation({"independent pixels": before, "correlated pixels": after})

# %%
# Sample
# ------
#
# All models that the data allow. Draws from a mixture about the best fit are weighted by the
# posterior (:doc:`/spots` has more on this); ``method="nuts"``, the default, takes longer
# and copes with more difficult shapes. For a paper, sample by both and compare.

samples = sample(posterior, jax.random.key(0), method="auto", start=best, progress=False)
print(samples.summary())

# %%
# Look at the table first: the number of independent draws behind each error bar (``ess``) should be
# some hundreds. The true values are these:

print({name: round(float(truth.get(name)), 3) for name in posterior.names})

# %%
# How the parameters depend on each other. ``grater.derived_table(samples)`` has radii that can be
# compared between papers, and where the near side is.

samples.corner(["disk.semi_major_axis", "disk.inclination", "disk.position_angle", "disk.phase.g"])

# %%
# Save it
# -------
#
# The file has draws, priors and the model, and runs nothing when it is read (:doc:`/files`).

samples.save(folder / "samples.npz")
again = Samples.load(folder / "samples.npz")
print(again.draws["disk.inclination"].mean())

# %%
# Your own file
# -------------
#
# Change the lines that read the file, and the PSF:
#
# - ``from_fits(path, distance=..., pixel_scale=...)`` reads the first HDU that holds an image.
#   ``image_hdu`` and ``image_plane`` choose another one, or a plane of a cube. Pixel scale and star
#   are compared with the header; what disagrees is refused, with a sentence.
# - An image whose header says that North is not up is fitted in its own frame, with a warning that
#   has the angle. If it was rotated after that was written, give ``roll=0`` (:doc:`/quickstart`).
# - Where the header does not say where the star is, give ``center=(x, y)``, zero-based.
# - The noise: ``error_hdu="ERR"``, ``error="noise.fits"``, an array, or ``error="annular"``, the
#   scatter in rings about the star. The last one counts the disk as noise where it is bright;
#   U_phi, where you have it, is better (:func:`~grater.noise_map`).
# - The PSF: ``grater.read_psf("star.fits")``, the image of a star without background.
#   Without a PSF the disk comes out too wide.
# - Starlight that is left in the image biases every fit: see :doc:`/quickstart`.
#
# ``grater fit image.fits --distance 70 --fwhm 3`` does all of this from the command line
# (:doc:`/commands`).

# sphinx_gallery_thumbnail_number = 2
