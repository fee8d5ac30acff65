r"""
By hand: NumPyro and BlackJAX
=============================

At the end you will have this: the posterior of a disk by NumPyro, by BlackJAX, and by this
package's ``sample``, one over the other.

.. image:: /tutorials/images/sphx_glr_plot_08_samplers_001.png
   :alt: posterior of four parameters by three samplers

For most work ``sample`` is enough. This page is for those who want a disk in a larger model of
theirs, or another sampler. It goes on from :doc:`/tutorials/plot_08_by_hand`, with the same
simulated image.
"""

import blackjax
import jax
import matplotlib.pyplot as plt
import numpy as np
import numpyro
import numpyro.distributions as dist

import grater
from pytreefit import Posterior, fit, sample

disk = grater.Disk(
    semi_major_axis=40.0,
    inclination=65.0,
    position_angle=30.0,
    alpha_in=10.0,
    alpha_out=-5.0,
    scale_height=1.5,
    flux=1000.0,
    phase=grater.HenyeyGreenstein(g=0.3),
    density_normalization="column",
)
truth = grater.Scene(
    disk,
    grid=grater.Grid((35, 35), pixel_scale=0.05, distance=70.0),
    psf=grater.GaussianPSF(fwhm=2.0, size=9),
    accuracy=1e-3,
    nodes_on="surfaces",  # this page compiles sooner with it; leave it out for your own image
)
data = grater.Observation.simulate(truth, 0.03, jax.random.key(8))
priors = {
    "disk.inclination": (40.0, 88.0),
    "disk.position_angle": (0.0, 60.0),
    "disk.phase.g": (-0.9, 0.9),
    "disk.flux": (100.0, 10000.0),
}
posterior = Posterior(truth, data.log_likelihood, priors)
best = fit(posterior, progress=False)

# %%
# NumPyro
# -------
#
# Priors are ``numpyro.sample``, and the likelihood is a ``numpyro.factor``. In the same way a disk
# goes into a larger model of yours. (``posterior.numpyro_model()`` returns this very function.)


def numpyro_model():
    values = {name: numpyro.sample(name, dist.Uniform(*priors[name])) for name in priors}
    numpyro.factor("image", data.log_likelihood(truth.set(values)))


begin = numpyro.infer.init_to_value(values=best.values)
kernel = numpyro.infer.NUTS(numpyro_model, init_strategy=begin)
mcmc = numpyro.infer.MCMC(kernel, num_warmup=100, num_samples=300, progress_bar=False)
mcmc.run(jax.random.key(1))
by_numpyro = mcmc.get_samples()

# %%
# BlackJAX
# --------
#
# BlackJAX samplers need a log density without bounds: ``posterior.log_density`` is one, of a vector
# of unconstrained coordinates, and ``posterior.constrain`` turns these into the parameters.


@jax.jit
def draw(key):
    first, second = jax.random.split(key)
    warmup = blackjax.window_adaptation(blackjax.nuts, posterior.log_density)
    (state, tuned), _ = warmup.run(first, posterior.unconstrain(best.values), num_steps=100)
    kernel = blackjax.nuts(posterior.log_density, **tuned)

    def one(state, key):
        state, _ = kernel.step(key, state)
        position, *_ = state
        return state, position

    return jax.lax.scan(one, state, jax.random.split(second, 300))[1]


by_blackjax = jax.vmap(posterior.constrain)(draw(jax.random.key(2)))

# %%
# This package
# ------------
#
# ``sample`` runs several chains of the same sampler, starts with the scales and correlations at the
# best fit, and says whether the chains agree.

samples = sample(
    posterior, jax.random.key(3), start=best, chains=2, warmup=50, draws=300, progress=False
)
print(samples.summary())

found = {
    "NumPyro": by_numpyro,
    "BlackJAX": by_blackjax,
    "sample": {name: np.ravel(draws) for name, draws in samples.draws.items()},
}
figure, axes = plt.subplots(1, 4, figsize=(10, 2.8), sharey=True, layout="constrained")
for axis, name in zip(axes, priors, strict=True):
    for label, draws in found.items():
        axis.ecdf(np.asarray(draws[name]), label=label)
    axis.axvline(truth.get(name), color="0.6", linestyle=":", label="truth")
    axis.set_xlabel(name.removeprefix("disk."))
axes[0].set_ylabel("share of draws below")
axes[0].legend(frameon=False, fontsize=8)
plt.show()

# %%
# The curves are the same but for the number of draws. Short chains such as these are for this page;
# for a paper take more, and look at the agreement of several chains whatever the sampler.
#
# Next: :doc:`/tutorials/plot_13_how_fast` measures what the gradient and the integration are worth.

# sphinx_gallery_thumbnail_number = 1
