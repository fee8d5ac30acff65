"""
Long light curves
=================

At the end you will have this: period and inclination of a faint star from all points of its light
curve at once, beside those from a few hundred of them, and how exact the likelihood was.

.. image:: /tutorials/images/sphx_glr_plot_11_long_light_curve_003.png
   :alt: period and inclination from all points and from some

Computed directly, a likelihood of N points takes a time that grows as N³. ``GPSolver`` knows faster
ways, and chooses one by itself. Which there are, and when each of them wins, is in :doc:`/solvers`.
"""

# %%
# A simulated light curve
# -----------------------
#
# Three segments, such as quarters or sectors, with a point every half hour, gaps, and levels that
# differ. The error of a point is about as large as the scatter that the spots make.

import jax

jax.config.update("jax_enable_x64", True)  # double precision, before anything else

import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist

import spotgp
from pytreefit import fit, laplace

ERROR = 3e-3
truth = spotgp.SpotEvolutionModel(
    envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=12.0, tau_spot=4.0),  # days
    visibility=spotgp.VisibilityFunction(peq=5.0, kappa=0.15, inc=np.radians(50.0)),
    nspot_rate=3.0,  # spots a day
    fspot=0.5,  # their brightness
    alpha_max=np.radians(5.0),  # their largest radius
)
rng = np.random.default_rng(5)
time = np.arange(0.0, 120.0, 0.0204)
time = time[(time % 40.0 < 38.0) & ((time % 40.0 < 20.0) | (time % 40.0 > 21.5))]
segment = (time // 40.0).astype(int)
light = 1.0 + np.asarray(spotgp.simulate(truth, jax.random.key(5), time)[0])
flux = np.array([9000.0, 9400.0, 8800.0])[segment] * (light + ERROR * rng.normal(size=time.size))
data = spotgp.TimeSeriesData(time, flux, ERROR * 9000.0, segment).normalize()
print(data)

# %%
# Dividing by the median of each segment takes out most of the difference in level, not all of it:
# what is left is integrated out in the likelihood, as a free offset of each segment.
#
# The usual way with a long light curve is to fit some of its points. ``thin`` takes some at random
# and leaves them as they were measured. Look for periods before, in all points.

rotation = data.rotation_period()
print(rotation)
few = data.thin(300)

figure, axis = plt.subplots(figsize=(9, 3), layout="constrained")
axis.plot(data.time, 100.0 * data.flux, ".", color="0.75", ms=1.5, label="all points")
axis.plot(few.time, 100.0 * few.flux, "k.", ms=3, label="some of them")
axis.set(xlabel="time [d]", ylabel="flux [%]")
axis.legend(frameon=False, ncols=2)
plt.show()

# %%
# Which solver?
# -------------
#
# ``solver="auto"``, the default, asks each solver what it costs for this light curve. The fast ones
# need to know how long a spot may live at most, so give upper limits to its times. ``print`` shows
# the choice.

period = rotation.period
priors = {
    "peq": (0.5 * period, 2.0 * period),
    "kappa": (0.0, 0.6),
    "inc": spotgp.IsotropicInclination(),
    "lspot": dist.LogUniform(period, 25.0),
    "tau_spot": dist.LogUniform(0.2 * period, 8.0),
}
star = spotgp.SpotEvolutionModel(
    envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=3.0),
    visibility=spotgp.VisibilityFunction(peq=period, kappa=0.1, inc=1.0),
    sigma_k=0.005,
)
gp = spotgp.GPSolver.from_data(data, star, priors=priors)
print(gp)
best = fit(gp.posterior, progress=False)
print(best)

# %%
# The solver ``"bins"`` cuts the light curve into short bins, and keeps the coefficients of a few
# polynomials in each: no point is averaged away, and gaps, cadence and errors are taken as they
# are. What that changes in the log-likelihood is stated, and can be compared with an exact solver:

exact = spotgp.GPSolver.from_data(data, star, priors=priors, solver="exact")
print(exact)
print(f"in bins       {float(gp.log_likelihood(best.values)):.3f}")
print(f"exact         {float(exact.log_likelihood(best.values)):.3f}")
print(f"stated error  {float(gp.likelihood_error(best.values)):.3f}")

# %%
# A difference of a tenth is nothing in a fit: half a unit is one standard deviation. ``tolerance=``
# asks for less. Where a fit ends far from where it started, ``gp.remade_at(best.values)`` makes the
# bins anew; a warning says when that is needed.
#
# Here is a part of the light curve with a gap and a new segment, whose offset is in the prediction:

there = gp.at(best.values)
t = np.linspace(48.0, 92.0, 512)
mean, variance = there.predict(t)
figure, axis = plt.subplots(figsize=(9, 3), layout="constrained")
axis.plot(data.time, 100.0 * data.flux, ".", color="0.75", ms=1.5)
for k in (2, 1):
    low, high = (100.0 * (mean + sign * k * np.sqrt(variance)) for sign in (-1, 1))
    axis.fill_between(t, low, high, color="C0", alpha=0.3, lw=0)
axis.plot(t, 100.0 * mean, "C0", lw=1)
axis.set(xlabel="time [d]", ylabel="flux [%]", xlim=(48.0, 92.0))
plt.show()

# %%
level, covariance = there.offset_estimates()
for k, (value, width) in enumerate(zip(level, np.sqrt(np.diag(covariance)), strict=True)):
    print(f"level of segment {k}: {float(value):.4f} +- {width:.4f}")

# %%
# What all points are worth
# -------------------------
#
# The same fit of some of the points, and the errors of both:

some = spotgp.GPSolver.from_data(few, star, priors=priors)
print(some)
fits = {"some points": (some, fit(some.posterior, progress=False)), "all points": (gp, best)}
turn = np.linspace(0.0, 2.0 * np.pi, 200)
figure, axis = plt.subplots(figsize=(5, 4), layout="constrained")
for color, (name, (process, found)) in enumerate(fits.items()):
    errors = laplace(process.posterior, found, method="differences", held=found.at_edge)
    print(f"{name}\n{errors.summary()}\n")
    pair = [errors.components.index(f"model.visibility.{key}") for key in ("peq", "inc")]
    centre = [float(found.values[errors.components[k]]) for k in pair]
    root = np.linalg.cholesky(errors.covariance[np.ix_(pair, pair)])
    x, y = np.array(centre)[:, None] + root @ np.array([np.cos(turn), np.sin(turn)])
    axis.fill(x, np.degrees(y), color=f"C{color}", alpha=0.4, label=name)
axis.plot(5.0, 50.0, "k+", ms=12, label="simulated")
axis.set(xlabel="period at the equator [d]", ylabel="inclination [deg]")
axis.legend(frameon=False)
plt.show()

# %%
# Ellipses are one standard deviation of a Gaussian about the best fit: they hold the truth in four
# cases of ten. A parameter at the edge of its prior is held there, and has no error of its own. The
# bright stars of Kepler lose less when they are thinned: their noise is small, and what limits them
# is how many spots they show.
#
# Other solvers
# -------------
#
# - ``"banded"`` is exact, and quick where spots live for a small part of the light curve.
# - ``"quasiseparable"`` is for spots that grow and decay exponentially, on a star without shear
#   (``kappa=0``). Its time is in proportion to the number of points, and it needs no upper limits:

kalman = spotgp.GPSolver.from_data(
    data,
    spotgp.SpotEvolutionModel(
        envelope=spotgp.ExponentialEnvelope(tau_spot=8.0),
        visibility=spotgp.VisibilityFunction(peq=period, kappa=0.0, inc=1.0),
        sigma_k=0.005,
    ),
    solver="quasiseparable",
)
print(kalman)

# %%
# ``search`` starts from several places, and ``sample`` draws from the posterior, as in
# :doc:`/tutorials/plot_03_rotation`. Draws of an approximate likelihood can be corrected to the
# exact one (:doc:`/solvers`).
#
# Next: :doc:`/tutorials/plot_12_many_stars` does this for many stars.

# sphinx_gallery_thumbnail_number = 3
