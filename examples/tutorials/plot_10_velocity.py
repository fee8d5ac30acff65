r"""
Radial velocity and a planet
============================

At the end you will have this: a planet's semi-amplitude with an error bar, from velocities in which
the star's spots make a larger signal than the planet, and a light curve that tells them apart.

.. image:: /tutorials/images/sphx_glr_plot_10_velocity_003.png
   :alt: the planet's velocity, folded with its period, without the spots

Star, planet and data here are simulated. What a channel is, and which parameters can be told apart,
is in :doc:`/channels`.
"""

# %%
# A simulated star with a planet
# ------------------------------
#
# The star turns in 8 days. Its spots are darker than their surroundings: they take light of their
# own velocity out of the spectral lines, and hold back the convection below them. Velocities are in
# m / s and positive away from us, times in days.

import jax

jax.config.update("jax_enable_x64", True)  # double precision, before anything else

import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist

import spotgp
from pytreefit import Table, fit, laplace

K, VSINI = 6.0, 3000.0  # m / s
truth = spotgp.SpotEvolutionModel(
    envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=15.0, tau_spot=5.0),  # days
    visibility=spotgp.VisibilityFunction(peq=8.0, kappa=0.1, inc=1.1),  # days, -, radians
    nspot_rate=3.0,  # spots a day
    fspot=0.5,  # their brightness, relative to the star's surface
    alpha_max=np.radians(4.0),  # their largest radius
)
planet = spotgp.Keplerian(period=5.3, semi_amplitude=K, conjunction=2.0)  # days, m / s, days
seen = {"flux": spotgp.FluxBand(), "rv": spotgp.RadialVelocity(vsini=VSINI, convective=200.0)}

# %%
# The light curve has a point every 19 hours. Two spectrographs took a velocity in every other night
# or so; each has a zero point of its own.

rng = np.random.default_rng(0)
t = np.linspace(0.0, 80.0, 100)
nights = np.sort(rng.choice(80, 40, replace=False)) + rng.uniform(-0.15, 0.15, 40)
drawn = spotgp.simulate_channels(truth, jax.random.key(0), np.concatenate([t, nights]), seen)
flux = 1.0 + np.asarray(drawn["flux"])[0, : t.size] + 3e-4 * rng.normal(size=t.size)
activity = np.asarray(drawn["rv"])[0, t.size :]
second = np.arange(40) % 3 == 0
error = np.where(second, 1.5, 1.0)
velocity = activity + np.asarray(planet(nights)) + error * rng.normal(size=40)
velocity = velocity + np.where(second, 25.0, 0.0)
print(f"K of the planet {K:.0f} m/s; the spots' velocities scatter by {activity.std():.0f} m/s")

figure, (above, below) = plt.subplots(2, 1, figsize=(9, 4.5), sharex=True, layout="constrained")
above.plot(t, flux, "k.", ms=4)
above.set_ylabel("relative flux")
for name, own in (("first", ~second), ("second", second)):
    below.errorbar(nights[own], velocity[own], error[own], fmt="o", ms=4, label=name)
below.set(xlabel="time [d]", ylabel="velocity [m / s]")
below.legend(frameon=False)
plt.show()

# %%
# One process for both
# --------------------
#
# All data of the star go into one Gaussian process. The planet's orbit is the mean function of the
# velocities. Zero points are integrated out. The fit starts from rough values, of the planet as
# well: its period is a little off, and so is the time of its transit.

data = {
    "flux": (t, flux, 3e-4),
    "rv": {
        "first": (nights[~second], velocity[~second], error[~second]),
        "second": (nights[second], velocity[second], error[second]),
    },
}
start = spotgp.SpotEvolutionModel(
    envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=4.0),
    visibility=spotgp.VisibilityFunction(peq=8.3, kappa=0.0, inc=1.2),
    sigma_k=float(np.std(flux)),
)
rough = spotgp.Keplerian(period=5.25, semi_amplitude=3.0, conjunction=2.2)
orbit = {  # circular: eccentricity and omega stay as they are
    "means.rv.semi_amplitude": (0.0, 50.0),
    "means.rv.period": (5.0, 5.6),
    "means.rv.conjunction": (0.0, 4.0),
    "means.rv.eccentricity": None,
    "means.rv.omega": None,
}
stellar = {
    "peq": (6.0, 11.0),
    "kappa": None,  # no shear, so that this page is short
    "lspot": dist.LogUniform(4.0, 100.0),
    "tau_spot": dist.LogUniform(1.0, 30.0),
    "vsini": dist.TruncatedNormal(VSINI, 150.0, low=0.0),  # from the width of the lines
}
gp = spotgp.ChannelSolver(
    data,
    start,
    {"flux": spotgp.FluxBand(), "rv": spotgp.RadialVelocity(vsini=VSINI, convective=100.0)},
    means={"rv": rough},
    priors=stellar | orbit,
)
best = fit(gp.posterior, progress=False)
print(best)
at_best = gp.at(best.values)
spotgp.plot_channels(at_best)

# %%
# Beside the prediction, its parts are drawn: what the rotation of the spots does to the velocity,
# what the convection does, and the planet, the mean. Without the spots the planet shows.
#
# Grey bars include the error of the spots that were taken off. The points lie nearer to the curve
# than these errors, since the process was fitted to the same velocities and took up part of their
# noise: what counts is the error of the semi-amplitude below.

found = at_best.process.means["rv"]
spotgp.plot_folded(at_best, "rv", found.period, zero=found.conjunction)

# %%
# The planet's semi-amplitude
# ---------------------------
#
# For comparison, the usual way without a light curve: white noise that is as large as the activity,
# called jitter. It is the same process, of a star that has hardly any spots.

fixed = dict.fromkeys(("peq", "kappa", "inc", "lspot", "tau_spot", "sigma_k", "vsini"))
white = spotgp.ChannelSolver(
    {"rv": data["rv"]},
    start.set({"amplitude.sigma_k": 1e-9}),
    {"rv": spotgp.RadialVelocity(vsini=VSINI)},
    means={"rv": rough},
    jitter={"first": 10.0, "second": 10.0},  # m / s
    priors=fixed | orbit,
)
print(white.param_keys)
usual = fit(white.posterior, progress=False)
rows = [("simulated", f"{K:.2f}", "")]
cases = {"spots and planet": (gp, best), "planet and white jitter": (white, usual)}
for name, (process, found) in cases.items():
    errors = laplace(process.posterior, found, method="differences", held=found.at_edge)
    value, width = (of["means.rv.semi_amplitude"] for of in (found.values, errors.std))
    rows.append((name, f"{value:.2f}", f"{width:.2f}"))
print(Table(("K of the planet", "m/s", "+-"), rows))

# %%
# These errors are those of a Gaussian about the best fit. For a paper, draw from the posterior, as
# in :doc:`/tutorials/plot_03_rotation`; ``examples/fit_rv.py`` does that for a star like this one,
# with its shear free.
#
# With your own data
# ------------------
#
# - Velocities in m / s, or with a unit; a light curve as relative flux, times of both in the same
#   system. A :class:`~spotgp.TimeSeriesData` does for the light curve.
# - The orbit's period comes from a transit or a periodogram: give it a narrow prior. An eccentric
#   orbit is fitted where ``eccentricity`` and ``omega`` are not fixed.
# - Several planets are ``means={"rv": spotgp.SumMean({"b": one, "c": other})}``.
# - The light curve should cover the nights of the velocities: what it says of the spots is
#   forgotten after a spot's life.
# - :func:`~spotgp.minimum_mass` turns K into a mass.
#
# Next: :doc:`/tutorials/plot_11_long_light_curve` has light curves of thousands of points.

# sphinx_gallery_thumbnail_number = 3
