"""
A spotted star, from its spots to its Gaussian process
======================================================

Spots emerge on a turning star, live for some weeks and fade. This draws one such star, its light
curve, and the Gaussian process that describes all light curves of its kind.
"""

import jax

jax.config.update("jax_enable_x64", True)

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

import spotgp  # noqa: E402

# %%
# How the radius of a spot evolves, how the star turns, and how strong its spots are.
envelope = spotgp.TrapezoidSymmetricEnvelope(lspot=15.0, tau_spot=5.0)
visibility = spotgp.VisibilityFunction(peq=10.0, kappa=0.3, inc=np.pi / 3)
model = spotgp.SpotEvolutionModel(envelope=envelope, visibility=visibility, sigma_k=0.01)
print(model)

# %%
# A realisation with 30 spots, the star in the middle of it, and where its spots were.
lc = spotgp.LightcurveModel.from_spot_model(spot_model=model, nspot=30, tsim=150, tsamp=0.5)
spotgp.plot_spot_map(lc, 75.0, figure=plt.figure(figsize=(9, 4), layout="constrained"))

# %%
spotgp.plot_butterfly(lc, figure=plt.figure(figsize=(9, 4), layout="constrained"))

# %%
# The covariance of all its light curves, and their power spectrum, harmonic by harmonic.
kernel = spotgp.AnalyticKernel(model)
spotgp.plot_kernel(kernel, figure=plt.figure(figsize=(8, 4), layout="constrained"))

# %%
spotgp.plot_psd(kernel, figure=plt.figure(figsize=(8, 4), layout="constrained"))

# %%
# Observed with noise and a gap, the Gaussian process fills in what was not seen.
rng = np.random.default_rng(0)
seen = np.flatnonzero((lc.t < 70) | (lc.t > 90))[::2]
error = 1e-3
flux = np.asarray(lc.flux)[seen] + rng.normal(0.0, error, seen.size)
gp = spotgp.GPSolver(np.asarray(lc.t)[seen], flux, error, model)
spotgp.plot_light_curve(
    gp, t=np.linspace(0, 150, 600), figure=plt.figure(figsize=(9, 5), layout="constrained")
)
