"""
Many stars on a cluster
=======================

At the end you will have this: a table with periods, lifetimes of spots, errors and doubts of a
dozen stars, which is not lost when the run is killed, and the distribution of lifetimes that the
stars share.

.. image:: /tutorials/images/sphx_glr_plot_12_many_stars_001.png
   :alt: fitted against simulated lifetimes of spots, and the law that they follow

The stars here are simulated. The same script fits thousands; what it can do on clusters is in
:doc:`/surveys`.
"""

# %%
# A folder of light curves
# ------------------------
#
# Twelve stars, whose spots live for about as long as each other's, each in a file. One of the files
# is damaged, as happens.

import functools
import tempfile
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)  # double precision, before anything else

import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
from astropy.table import Table

import spotgp
from pytreefit import Ensemble, IndependentLaws, LogNormalLaw, Posterior, fit, laplace, survey


def star(period, life):
    return spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=life, tau_spot=4.0),
        visibility=spotgp.VisibilityFunction(peq=period, kappa=0.0, inc=1.1),
        sigma_k=0.01,
    )


rng = np.random.default_rng(12)
folder = Path(tempfile.mkdtemp())
periods = rng.uniform(3.0, 9.0, 12)  # days
lives = 12.0 * np.exp(0.3 * rng.normal(size=12))  # days
time = np.sort(rng.uniform(0.0, 90.0, 1200))
names = [f"star{number:02d}.csv" for number in range(12)]
for number, name in enumerate(names):
    model = star(periods[number], lives[number])
    light = spotgp.simulate(model, jax.random.key(number), time, nspot_rate=3.0)[0]
    flux = 1.0 + np.asarray(light) + 1e-3 * rng.normal(size=time.size)
    columns = {"time": time, "flux": flux, "flux_err": np.full(time.size, 1e-3)}
    Table(columns).write(folder / name)
(folder / names[7]).write_text("time,flux\n")  # damaged

# %%
# Fit them
# --------
#
# Stars have names here, and a function without arguments reads a star when its turn comes. Its
# period is looked for in all points, and ``points`` of them are fitted. Every star that is done is
# a row in the store, a folder on the disk.
#
# To show what happens when a run is killed, this one is: the function that gets the lines of
# progress presses Ctrl-C after five stars.


def read(path):
    return spotgp.TimeSeriesData.from_text(path).sigma_clip()


stars = {name: functools.partial(read, folder / name) for name in names}
priors = {
    "kappa": None,  # no shear, and one inclination for all: this page is short
    "inc": None,
    "tau_spot": None,
    "lspot": (2.0, 50.0),
}
store = folder / "rotation"


def killed(line):
    print(line)
    if "5 of 12" in line:
        raise KeyboardInterrupt


options = dict(priors=priors, points=150, starts=2, store=store)
first = spotgp.fit_many(stars, star(5.0, 10.0), progress=killed, **options)
print(len(first) - len(first.left), "stars have a row")

# %%
# Start the same script again: stars with a row are neither read nor fitted again.

found = spotgp.fit_many(stars, star(5.0, 10.0), progress=print, **options)
print(found)

# %%
# What to doubt
# -------------
#
# A star that failed is a row with the reason. ``agreeing`` is how many of the starts ended at the
# best fit, and flags say in words what to doubt: rivals of the period, parameters at the edge of a
# prior, starts that ended elsewhere. Two starts are few, four are usual; they are from different
# periods and lifetimes, and of those that do not agree the best one is in the table.
#
# The store can be looked at while it is being filled, also from other processes. ``report`` makes a
# page of it for the browser, with histograms of everything; with ``target=`` it is the page of one
# star.

kept = survey.Store(store)
print(kept)
print(kept.failed)
table = kept.table()  # of astropy, with units
print(table["name", "rotation_period", "effective_period", "effective_period_error", "agreeing"])
page = survey.report(store, folder / "survey.html")

# %%
# The lifetimes that stars share
# ------------------------------
#
# Lifetimes here were drawn from one distribution. Its median and width follow from the stars'
# posteriors, errors included. Draws of a Gaussian stand in for these; ``sample`` would make better
# ones. The prior under which the stars were fitted has to be given.

good = [one for one in found if "model.envelope.lspot" in one.errors]
draws = {}
for one in good:
    value, error = (of["model.envelope.lspot"] for of in (one.values, one.errors))
    draws[one.name] = {"lspot": rng.normal(value, error, 500)}
ensemble = Ensemble.of(draws, {"lspot": priors["lspot"]})
law = IndependentLaws({"lspot": LogNormalLaw(median=10.0, width=0.5)})
edges = {"laws.lspot.median": (2.0, 50.0), "laws.lspot.width": (0.05, 2.0)}
posterior = Posterior(law, ensemble.log_likelihood, edges)
best = fit(posterior, progress=False)
print(laplace(posterior, best).summary())

# %%
# Which of the lifetimes are right? Stars with a flag are drawn in orange.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for one in good:
    value, error = (of["model.envelope.lspot"] for of in (one.values, one.errors))
    true, color = lives[names.index(one.name)], "C1" if one.flags else "C0"
    left.errorbar(true, value, error, fmt="o", ms=4, color=color)
left.plot([6.0, 22.0], [6.0, 22.0], "k", lw=0.8)
left.set(xlabel="simulated time at full size [d]", ylabel="fitted time [d]")
days = np.linspace(3.0, 40.0, 300)
for one in good:
    value, error = (of["model.envelope.lspot"] for of in (one.values, one.errors))
    right.plot(days, np.exp(dist.Normal(value, error).log_prob(days)) / len(good), "0.7", lw=0.8)
right.plot(days, np.exp(best.model.laws["lspot"].log_prob(days)), label="law that was found")
true = LogNormalLaw(median=12.0, width=0.3)
right.plot(days, np.exp(true.log_prob(days)), "k--", lw=1, label="simulated")
right.set(xlabel="time at full size [d]", ylabel="density [1 / d]")
right.legend(frameon=False)
plt.show()

# %%
# Most are, within their errors, and all without a flag. Some with a flag are far off: the
# likelihood of a lifetime has several maxima, and the fit is at a wrong one, with an error bar that
# knows of this one alone. Take flags seriously: fit such stars from more starts, or sample them
# from all of their fits (:doc:`/tutorials/plot_03_rotation`).
#
# The law was simulated with a median of 12 days and a width of 0.3.
#
# On a cluster
# ------------
#
# Without an ``engine``, threads of one process do the work. In a script, ``engine="processes"``
# makes better use of many cores. Any cluster that dask knows takes their place. This is one of two
# small workers on one machine; a ``SLURMCluster`` of dask_jobqueue takes the same two lines
# (:doc:`/surveys`):
#
# .. code-block:: python
#
#     from dask.distributed import Client, LocalCluster
#
#     if __name__ == "__main__":
#         cluster = LocalCluster(n_workers=2, threads_per_worker=1, memory_limit="2GB")
#         with Client(cluster) as client:
#             spotgp.fit_many(stars, star(5.0, 10.0), engine=client, **options)
#
# A worker that dies, or runs out of memory, is started again, and its star is tried anew. The rows
# are the same, however many workers there are. Without dask, job arrays share the stars by
# ``shard="slurm"``, and ``spotgp survey *.fits --store rotation`` does it all from the command line
# (:doc:`/commands`).
#
# Next: :doc:`/tutorials/plot_09_check` asks whether the model is right.

# sphinx_gallery_thumbnail_number = 1
