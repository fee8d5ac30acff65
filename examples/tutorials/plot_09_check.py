"""
Is the model right?
===================

At the end you will have this: what the data say against a fitted model, and which of two models is
the better one.

.. image:: /tutorials/images/sphx_glr_plot_09_check_001.png
   :alt: light curve and statistics beside draws from the model

An error bar is worth as much as the model behind it. This fits a star whose spots are in two belts
with the default model, whose spots are everywhere. What is compared, and how, is in :doc:`/checks`.
"""

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np
import numpyro.distributions as dist

import spotgp

# %%
# The star is inclined by 42 degrees, and its spots emerge between 20 and 40 degrees on either side
# of the equator. Six quarters of it, a point every 14 hours:


def star(latitude, inc):
    return spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=6.0, tau_spot=2.0),
        visibility=spotgp.VisibilityFunction(peq=4.0, kappa=0.1, inc=inc),
        sigma_k=0.01,
        latitude=latitude,
    )


belts = spotgp.LatitudeBand(np.radians(20.0), np.radians(40.0))
rng = np.random.default_rng(1)
time = 0.6 * (np.arange(900) + rng.uniform(-0.15, 0.15, 900))
truth = star(belts, np.radians(42.0))
flux = np.asarray(spotgp.simulate(truth, jax.random.key(1), time, nspot_rate=3.0)[0])
flux = flux + rng.normal(0.0, 3e-4, time.size)

# %%
# Fitted with spots that are uniform in latitude, the inclination is precise, and wrong:
priors = {
    "peq": dist.LogUniform(1.5, 12.0),
    "kappa": (0.0, 0.6),
    "inc": spotgp.IsotropicInclination(),
    "lspot": dist.LogUniform(1.0, 20.0),
    "tau_spot": dist.LogUniform(0.3, 8.0),
}
uniform = star(spotgp.UniformLatitude(), 0.9)
gp = spotgp.GPSolver(time, flux, 3e-4, uniform, priors=priors)
found = spotgp.search(gp, number=2, progress=False)
print(f"inclination {np.degrees(found.best.values['model.visibility.inc']):.1f} deg")

# %%
# The fit converged, and its residuals are small. The check draws light curves like the data from
# the fitted model, and compares:
checked = spotgp.check(gp, found)
print(checked)

# %%
spotgp.plot_check(checked)

# %%
# A model with a band of latitudes, whose edges are free, has nothing to gain from a band. What is
# left is the skewness: some thirty spots at a time are too few for a light curve that is as often
# above its mean as below. Which of the two models predicts each point better from all the others?
edges = {"lower": (0.0, 0.5 * np.pi), "upper": (0.0, 0.5 * np.pi)}
band = star(spotgp.LatitudeBand(0.2, 0.8), float(found.best.values["model.visibility.inc"]))
other = spotgp.GPSolver(time, flux, 3e-4, band, priors=priors | edges)
wide = spotgp.search(other, number=2, progress=False)
print(spotgp.check(other, wide).sentence)
print(spotgp.compare({"uniform": (gp, found), "band": (other, wide)}))

# %%
# Next: :doc:`/tutorials/plot_14_write_your_own` is about components of your own.
