r"""
Total and polarised light, and colours
======================================

At the end you will have this: one disk in four images, total intensity and :math:`Q_\phi` in two
bands, fitted together, with the degree of polarisation and the colour of its dust.

.. image:: /tutorials/images/sphx_glr_plot_07_polarised_002.png
   :alt: phase functions and degree of polarisation in two bands

The geometry of a disk is the same in all of its images, and each image adds to what is known of it.
The dust differs: its phase function, its degree of polarisation, and how bright it is. The images
here are simulated.
"""

# %%
# One disk, four images
# ---------------------
#
# Each band has a phase function and a degree of polarisation of its own. ``peak`` is the largest
# degree, at 90 degrees. ``brightness`` is that of the dust relative to the other band, H here. In
# units of the star's light in each band (contrast) it is the colour of the dust.

import jax
import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist

import grater
from pytreefit import Posterior, fit, sample

PIXELS = {"pixel_scale": 0.05, "distance": 70.0}  # arcsec, pc
h_band = grater.Polarized(grater.HenyeyGreenstein(g=0.45), peak=0.3)
k_band = grater.Polarized(grater.HenyeyGreenstein(g=0.3), peak=0.4)
disk = grater.Disk(
    semi_major_axis=45.0,
    inclination=65.0,
    position_angle=30.0,
    alpha_in=10.0,
    alpha_out=-5.0,
    scale_height=1.5,
    flux=700.0,
    phase=grater.Bands({"H": h_band, "K": grater.Band(k_band, brightness=1.25)}),
    density_normalization="column",
)

# %%
# Each image is a channel, with its PSF and the curve of the dust that it shows. A polarimeter
# measures Q and U, each blurred by the PSF, and these are turned into :math:`Q_\phi`. That is not
# the polarised intensity blurred by the PSF. With ``stokes="Q_phi"`` the image is made as the
# polarimeter makes it (:doc:`/optics`).

psf = {"H": grater.GaussianPSF(fwhm=2.2), "K": grater.GaussianPSF(fwhm=3.0)}  # pixels
channels = {}
for band in psf:
    channels[f"{band} total"] = grater.Channel(psf[band], curve=f"{band}.total")
    channels[f"{band} Q_phi"] = grater.Channel(psf[band], curve=f"{band}.polarized", stokes="Q_phi")
truth = grater.Scene(
    disk,
    grid=grater.Grid((41, 41), **PIXELS),
    channel=channels,
    accuracy=1e-3,
    nodes_on="surfaces",  # this page compiles sooner with it; leave it out for your own images
)

errors = {"H total": 0.007, "H Q_phi": 0.003, "K total": 0.009, "K Q_phi": 0.004}
rng = np.random.default_rng(7)
images = {
    name: image + errors[name] * rng.normal(size=image.shape)
    for name, image in truth.images().items()
}

# %%
# All four at once
# ----------------
#
# :class:`~grater.JointObservation` takes images on the same pixels by the names of their channels.
# With different pixels, give each image a view of its own, and take ``pytreefit.Joint`` as in
# :doc:`/tutorials/plot_05_two_rolls`. Only what has a prior is fitted: H keeps the brightness 1.

data = grater.JointObservation(
    {name: grater.Observation(image, errors[name], **PIXELS) for name, image in images.items()}
)
bands = "disk.phase.bands"
start = truth.set(
    {
        "disk.semi_major_axis": 42.0,
        "disk.inclination": 60.0,
        "disk.position_angle": 25.0,
        f"{bands}.H.phase.g": 0.2,
        f"{bands}.K.phase.g": 0.2,
        f"{bands}.H.peak": 0.5,
        f"{bands}.K.peak": 0.5,
        f"{bands}.K.brightness": 1.0,
    }
)
priors = {
    "disk.semi_major_axis": (30.0, 60.0),
    "disk.inclination": (40.0, 88.0),
    "disk.position_angle": (0.0, 60.0),
    "disk.flux": dist.LogUniform(70.0, 7000.0),
    f"{bands}.H.phase.g": (-0.9, 0.9),
    f"{bands}.K.phase.g": (-0.9, 0.9),
    f"{bands}.H.peak": (0.0, 1.0),
    f"{bands}.K.peak": (0.0, 1.0),
    f"{bands}.K.brightness": dist.LogUniform(0.1, 10.0),
}
posterior = Posterior(start, data.log_likelihood, priors)
best = fit(posterior, progress=False)

models = best.model.images()
figure, axes = plt.subplots(3, 4, figsize=(9, 6.8), layout="constrained")
for column, (name, image) in zip(axes.T, images.items(), strict=True):
    brightest = np.max(models[name])
    for axis, shown in zip(column, (image, models[name]), strict=False):
        axis.imshow(shown, origin="lower", cmap="inferno", vmin=0.0, vmax=brightest)
    residual = (image - models[name]) / errors[name]
    drawn = column[2].imshow(residual, origin="lower", cmap="RdBu_r", vmin=-5, vmax=5)
    column[0].set_title(name)
for axis, what in zip(axes[:, 0], ("data", "model", "residual / noise"), strict=True):
    axis.set_ylabel(what)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
figure.colorbar(drawn, ax=axes[2])
plt.show()

# %%
# The near side is bright in total intensity and not in polarised light: light that is deflected
# little is polarised little.
#
# The dust, with errors
# ---------------------

samples = sample(posterior, jax.random.key(0), method="auto", draws=200, start=best, progress=False)
print(samples.summary())
print({name: round(float(truth.get(name)), 3) for name in priors})

# %%
# Total and polarised intensity together tell ``peak`` and the flux apart. Polarised light alone
# does not.

figure = plt.figure(figsize=(10, 4), layout="constrained")
left, right = figure.subfigures(1, 2)
axis = right.subplots()
angle = np.linspace(0.0, 180.0, 181)
shape = grater.RayleighPolarization()(np.cos(np.deg2rad(angle)))
for band in psf:
    grater.plot_phase_function(samples, f"{bands}.{band}.phase", label=band, figure=left)
    peak = np.ravel(samples.draws[f"{bands}.{band}.peak"])
    low, middle, high = np.percentile(peak, [16, 50, 84])
    (line,) = axis.plot(angle, middle * shape, label=band)
    axis.fill_between(angle, low * shape, high * shape, color=line.get_color(), alpha=0.35, lw=0)
axis.set(xlabel="scattering angle (deg)", ylabel="degree of polarisation", xlim=(0, 180), ylim=0)
axis.legend(frameon=False)
plt.show()

# %%
# The colour, in magnitudes, and the true one. With ``phase_normalization="right_angle"`` for the
# disk it would be the colour of the light that is scattered by 90 degrees.

print(grater.colors(samples).table())
print("true colour:", round(-2.5 * np.log10(1.25), 4))

# %%
# With your own images
# --------------------
#
# - :math:`Q_\phi` and :math:`U_\phi`, or Q and U, are channels too: ``stokes="U_phi"``, ``"Q"`` and
#   ``"U"``. ``grater.Observation.from_gpi(path, distance, stokes="Q_phi")`` reads radial Stokes
#   cubes of GPI, and :doc:`/optics` shows files of SPHERE.
# - Images that lost light in their reduction have a ``throughput``, or are fitted as frames:
#   :doc:`/tutorials/plot_06_adi`.
# - Where the calibration of a band is uncertain, its colour is uncertain by as much. Add that to
#   the error of the colour, or give ``"channel.H total.flux_scale"`` a prior about 1.
# - Other phase functions and polarisation curves: :class:`~grater.SplinePhase`,
#   :class:`~grater.SplinePolarization`, and ``grater.Polarized.from_matrix`` for Mie theory.
#
# Next: :doc:`/tutorials/plot_08_by_hand` is for those who want optimizer and sampler in their own
# hands.

# sphinx_gallery_thumbnail_number = 2
