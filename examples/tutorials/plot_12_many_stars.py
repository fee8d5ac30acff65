"""
Many stars on a cluster
=======================

At the end you will have this: a table with periods, lifetimes of spots, errors and doubts of a dozen
stars, which survives that the run is killed, and the distribution of lifetimes that they share.

.. image:: /tutorials/images/sphx_glr_plot_12_many_stars_001.png
   :alt: fitted against simulated periods, and the law of the spots' lifetimes

The stars here are simulated. The same script fits thousands; what it can do on clusters is in
:doc:`/surveys`.
"""

# %%
# A folder of light curves
# ------------------------
#
# Twelve stars, whose spots live for about as long as each other's, each in a file. One of the files is
# damaged, as happens.

import functools
import tempfile
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)  # first of all: a Gaussian process wants it

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
# Stars have names. A function of no arguments reads a star when its turn comes. Of each, so many
# points are fitted, and its period is looked for in all of them first. Every star that is done is a row
# in the store, a folder on the disk.
#
# To show what happens when a run is killed, this one is: the function that gets the lines of progress
# presses Ctrl-C after five stars.


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


options = dict(priors=priors, points=150, starts=2, store=store, keep_fits=True)
first = spotgp.fit_many(stars, star(5.0, 10.0), progress=killed, **options)
print(len(first) - len(first.left), "stars have a row")

# %%
# Start the same script again: stars with a row are neither read nor fitted again.

found = spotgp.fit_many(stars, star(5.0, 10.0), progress=print, **options)
print(found.table())
