r"""
A spotted star from nothing
===========================

At the end you will have this: a star with spots, its light curve, and the covariance of all light
curves that such a star can have.

.. image:: /tutorials/images/sphx_glr_plot_04_spotted_star_005.png
   :alt: kernel of a spotted star

Times are in days, angles in radians here. An inclination of 0 is a star seen from its pole. The
equations are in :doc:`/spots`.
"""

import jax

jax.config.update("jax_enable_x64", True)  # double precision, before anything else

import matplotlib.pyplot as plt
import numpy as np

import spotgp

# %%
# A spot's life
# -------------
#
# An envelope is the radius of a spot over time, in units of its largest one: it grows, stays, and
# decays. The trapezoid is the simplest, and there are smooth ones. On the right is how much a
# spot's area resembles itself after some time: this goes into the kernel.

envelopes = {
    "trapezoid": spotgp.TrapezoidSymmetricEnvelope(lspot=15.0, tau_spot=5.0),
    "slow decay": spotgp.TrapezoidAsymmetricEnvelope(lspot=10.0, tau_em=2.0, tau_dec=18.0),
    "exponential": spotgp.ExponentialEnvelope(tau_spot=8.0),
}
t = np.linspace(-30.0, 40.0, 500)
lag = np.linspace(0.0, 40.0, 300)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for name, envelope in envelopes.items():
    left.plot(t, envelope.Gamma(t), label=name)
    right.plot(lag, envelope.R_Gamma(lag) / envelope.R_Gamma(0.0))
left.set(xlabel="time [d]", ylabel="radius of a spot")
right.set(xlabel="lag [d]", ylabel="autocorrelation of its area")
left.legend(frameon=False)
plt.show()

# %%
# A spot in view
# --------------
#
# As the star turns, a spot is seen from the front, at the limb, or not at all. Its latitude and the
# star's inclination say for how long. Spots near a pole that points towards us never set.

figure, axes = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
phase = np.linspace(-np.pi, np.pi, 400)
for axis, inclination in zip(axes, (30.0, 60.0, 90.0), strict=True):
    for latitude in (0.0, 30.0, 60.0):
        i, b = np.radians([inclination, latitude])
        mu = np.cos(i) * np.sin(b) + np.sin(i) * np.cos(b) * np.cos(phase)
        axis.plot(np.degrees(phase), np.clip(mu, 0.0, None), label=f"latitude {latitude:g}°")
    axis.set(title=f"inclination {inclination:g}°", xlabel="longitude from the centre [deg]")
axes[0].set_ylabel("foreshortening")
axes[0].set_ylim(0.0, 1.4)
axes[0].legend(frameon=False, fontsize=8, loc="upper left")
plt.show()

# %%
# A star
# ------
#
# Envelope, rotation and the strength of the spots make a star. ``kappa`` is the shear: at the poles
# the star turns more slowly, by this fraction. Here are thirty spots on it.

visibility = spotgp.VisibilityFunction(peq=10.0, kappa=0.3, inc=np.pi / 3)
model = spotgp.SpotEvolutionModel(
    envelope=envelopes["trapezoid"], visibility=visibility, sigma_k=0.01
)
print(model)
lc = spotgp.LightcurveModel.from_spot_model(spot_model=model, nspot=30, tsim=150, tsamp=0.5)
spotgp.plot_spot_map(lc, 75.0)

# %%
# Where the spots were, when, and how large:

spotgp.plot_butterfly(lc)

# %%
# The kernel
# ----------
#
# With many spots at random places the light curve is a draw of a Gaussian process. Its covariance
# follows from envelope and rotation, as the average over all spots. It is a sum of harmonics of the
# rotation, and so is its power spectrum.

kernel = spotgp.AnalyticKernel(model)
spotgp.plot_kernel(kernel)

# %%
spotgp.plot_psd(kernel)

# %%
# What each parameter does to it:

changes = {
    "peq": ("period", (6.0, 10.0, 14.0)),
    "lspot": ("time at full size", (2.0, 15.0, 40.0)),
    "kappa": ("shear", (0.0, 0.3, 0.6)),
    "inc": ("inclination", (0.3, np.pi / 3, np.pi / 2)),
}
figure, axes = plt.subplots(2, 2, figsize=(9, 5), sharey=True, layout="constrained")
for axis, (name, (title, values)) in zip(axes.flat, changes.items(), strict=True):
    for value in values:
        changed = model.set({model.paths[name]: value})
        k = spotgp.AnalyticKernel(changed).kernel(lag)
        axis.plot(lag, k / k[0], label=f"{value:.3g}")
    axis.set(title=f"{title}, {name}", xlabel="lag [d]", xlim=(0.0, 40.0))
    axis.legend(frameon=False, fontsize=8)
plt.show()

# %%
# The Gaussian process
# --------------------
#
# Observed with noise and a gap, the process fills in what was not seen, with an error that grows
# away from the data.

rng = np.random.default_rng(0)
seen = np.flatnonzero((lc.t < 70) | (lc.t > 90))[::2]
error = 1e-3
flux = np.asarray(lc.flux)[seen] + rng.normal(0.0, error, seen.size)
gp = spotgp.GPSolver(np.asarray(lc.t)[seen], flux, error, model)
spotgp.plot_light_curve(gp, t=np.linspace(0, 150, 600))

# %%
# Where to go from here
# ---------------------
#
# :doc:`/tutorials/plot_03_rotation` goes the other way, from a light curve to the star. Envelopes
# of your own are in :doc:`/tutorials/plot_14_write_your_own`.
#
# Next: :doc:`/tutorials/plot_10_velocity` has velocities of such a star, and a planet.

# sphinx_gallery_thumbnail_number = 3
