r"""
Rotation from a light curve
===========================

At the end you will have this from two light-curve files: the rotation period of a star with its
error bar, its inclination, how long its spots live, and a check of whether the model is right.

.. image:: /tutorials/images/sphx_glr_plot_03_rotation_002.png
   :alt: light curve with the Gaussian process

The light curve here is simulated, in the layout of two sectors of TESS. With files of your own only
the line that reads them changes. What the parameters mean is in :doc:`/spots`.
"""

# %%
# Two simulated files
# -------------------
#
# Spots emerge at random places on the star, grow, live for some rotations, and decay. The file has
# flags of bad points, a flare, and levels that differ between sectors.

import tempfile
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)  # double precision, before anything else

import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
from astropy.table import Table

import spotgp
from pytreefit import sample

truth = spotgp.SpotEvolutionModel(
    envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=12.0, tau_spot=4.0),  # days
    visibility=spotgp.VisibilityFunction(peq=4.6, kappa=0.1, inc=1.1),  # days, -, radians
    nspot_rate=1.0,  # spots a day
    fspot=0.3,  # their brightness
    alpha_max=0.06,  # their largest radius, radians
)
rng = np.random.default_rng(3)
time = np.arange(0.0, 54.0, 0.02)
light = np.asarray(spotgp.simulate(truth, jax.random.key(3), time)[0])
light = light + 4e-4 * rng.normal(size=time.size)
light[700:712] += 0.02 * np.exp(-np.arange(12) / 3.0)  # a flare
folder = Path(tempfile.mkdtemp())
files = []
for sector, (begin, end, level) in enumerate([(0.0, 26.0, 9000.0), (28.0, 54.0, 9400.0)]):
    here = (time >= begin) & (time < end) & ~((time > begin + 12.5) & (time < begin + 13.7))
    flux = level * (1.0 + light[here])
    quality = np.where(rng.uniform(size=flux.size) < 0.01, 128, 0)
    table = Table(
        {
            "TIME": 2000.0 + time[here],
            "PDCSAP_FLUX": np.where(quality, 2.0 * level, flux),
            "PDCSAP_FLUX_ERR": np.full(flux.size, 4e-4 * level),
            "QUALITY": quality,
        },
        meta={"TELESCOP": "TESS", "OBJECT": "simulated star"},
    )
    files.append(folder / f"sector{sector + 1}.fits")
    table.write(files[-1])

# %%
# Read and clean
# --------------
#
# Readers know the columns and flags of Kepler, K2, TESS and others. Each sector is divided by its
# own median, and outliers are taken out. ``history`` says what was done to the data.

data = spotgp.TimeSeriesData.from_fits(files).normalize().sigma_clip()
print(*data.history, sep="\n")

# %%
# Look for periods
# ----------------
#
# All points take part. What comes back has all candidates, and says in words what is to doubt.

rotation = data.rotation_period()
print(rotation)
periodogram = data.lomb_scargle()
figure, (above, below) = plt.subplots(2, 1, figsize=(9, 5.5), layout="constrained")
for sector in range(data.n_segments):
    here = data.segment == sector
    above.plot(data.time[here], 100.0 * data.flux[here], ".", ms=2)
above.set(xlabel="time [d]", ylabel="flux [%]")
below.plot(1.0 / periodogram.frequency, periodogram.power, "k", lw=0.8)
for period, probability in zip(rotation.candidates, rotation.probabilities, strict=True):
    below.axvline(period, color="C1", alpha=max(0.1, float(probability)))
below.set(xlabel="period [d]", ylabel="power", xscale="log", xlim=(0.5, 30.0))
plt.show()

# %%
# The Gaussian process
# --------------------
#
# A fit needs fewer points than a sector has: 150 are enough for this page, 300 are usual. The
# period that was found is where the fit starts. Spots are taken to live for a rotation at least:
# spots that come and go faster fit nearly any light curve.

model = spotgp.first_guess(data, truth, rotation.period)  # only the kind of star matters
period = rotation.period
priors = {
    "peq": (0.3 * period, 3.0 * period),
    "kappa": (0.0, 0.7),
    "inc": spotgp.IsotropicInclination(),
    "lspot": dist.LogUniform(period, 100.0),
    "tau_spot": dist.LogUniform(0.1 * period, 50.0),
}
gp = spotgp.GPSolver.from_data(data.thin(150), model, jitter=1e-4, priors=priors)
print(gp)

# %%
# Several starts, from all likely periods and life times. Where do they end?

found = spotgp.search(gp, spotgp.suggest_starts(gp, rotation), number=4, progress=False)
print(found.agreeing, "agree;", "; ".join(found.flags) or "nothing to doubt")
print(found.table())
best = gp.at(found.best.values)
spotgp.plot_light_curve(best)

# %%
# The starts agree in the period, but not in how long the spots live. That is no failure of the
# fits: the likelihood has many maxima in the life times, about a rotation apart, and each start
# climbs the one that it is on. Here they are along one of these times, with all else as in the best
# fit; lines are where the starts ended. A few months of one star do not decide between them. More
# starts are safer, and the posterior below weighs all maxima that were found.

lives = np.linspace(5.0, 30.0, 150)
path = "model.envelope.lspot"
along = [float(best.log_posterior({path: life})) for life in lives]
figure, axis = plt.subplots(figsize=(9, 2.8), layout="constrained")
axis.plot(lives, np.subtract(along, max(along)))
for one in found.fits:
    axis.axvline(float(one.values[path]), color="C1", lw=0.8)
axis.set(xlabel="time at full size [d]", ylabel="log posterior", ylim=(-15.0, 1.0))
plt.show()

# %%
# In the gaps the band widens: there the spots may do more than the data say. The kernel is the
# correlation of the flux with itself after some time. It turns with the star, and falls as spots
# decay.

spotgp.plot_kernel(best.process.spot_kernel(), max_lag=25.0, data=data)

# %%
# The posterior
# -------------
#
# All fits take part: each may be in a mode of its own (:doc:`/spots`).

draws = sample(
    gp.posterior, jax.random.key(0), method="auto", start=list(found.fits), progress=False
)
print(draws)
draws.corner(["model.visibility.peq", "model.visibility.kappa", "model.envelope.lspot"])

# %%
# The period at the equator and the shear depend on each other: what the data know is the period at
# the latitudes of the spots. Compare that one with a periodogram.

effective = jax.jit(jax.vmap(lambda star: star.effective_period()))(draws.models().get("model"))
spotgp.plot_periods(
    {
        "at the spots": effective,
        "at the equator": np.ravel(draws.draws["model.visibility.peq"]),
        "Lomb-Scargle": (periodogram.period, periodogram.uncertainty),
    }
)

# %%
# Is the model right?
# -------------------
#
# Light curves drawn from the posterior should look like the data (:doc:`/checks`).

checked = spotgp.check(gp, draws)
print(checked.sentence)
draws.save(folder / "samples.npz")

# %%
# Your own file
# -------------
#
# - ``TimeSeriesData.from_fits("kplr...llc.fits")``, or several files at once. ``from_text`` reads
#   tables of ASAS-SN, ZTF and others (one without names of its columns needs
#   ``columns=("time", "flux", "flux_err")``), ``from_lightkurve`` takes light curves of
#   lightkurve, and ``TimeSeriesData(time, flux, flux_err)`` takes arrays.
# - Transits are no spots: ``mask_transits(period, epoch, duration)`` takes them out.
# - Do not detrend: pipelines and polynomials take slow rotation away.
# - ``spotgp fit FILE`` does all of this from the command line (:doc:`/commands`).
#
# Next: :doc:`/tutorials/plot_04_spotted_star` is about what this model is made of, and
# :doc:`/tutorials/plot_12_many_stars` about many stars.

# sphinx_gallery_thumbnail_number = 2
