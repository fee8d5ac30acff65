"""A planet behind the activity of its star: photometry and radial velocities fitted together.

    python examples/fit_rv.py

A star with finite spots and a planet is simulated: a light curve, and velocities of two
spectrographs, in which the spots make larger signals than the planet. One Gaussian process of both
finds the planet's semi-amplitude beside the star's rotation, inclination and spots. Figures and
draws go to ``examples/output/rv``. Put your own arrays in the place of the simulated ones.
"""

import argparse
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402
import numpyro.distributions as dist  # noqa: E402

import spotgp  # noqa: E402
from pytreefit import Table, cache_programs, fit, sample  # noqa: E402

parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
parser.add_argument("--points", type=int, default=120, help="of the light curve")
parser.add_argument("--velocities", type=int, default=40)
parser.add_argument("--method", default="mixture", help="of sampling: mixture or nuts")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output")
args = parser.parse_args()
cache_programs()  # the next run need not compile again
folder = args.output / "rv"
folder.mkdir(parents=True, exist_ok=True)

# a star that turns in 8 days, and what its spots do to the data
VSINI = 3000.0  # m / s
star = spotgp.SpotEvolutionModel(
    envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=15.0, tau_spot=5.0),
    visibility=spotgp.VisibilityFunction(peq=8.0, kappa=0.1, inc=1.1),
    nspot_rate=3.0,
    fspot=0.5,
    alpha_max=np.deg2rad(3.0),
)
channels = {
    "flux": spotgp.FluxBand(),
    "rv": spotgp.RadialVelocity(vsini=VSINI, convective=200.0),
}
planet = spotgp.Keplerian(period=5.3, semi_amplitude=6.0, conjunction=2.0)

# the data
rng = np.random.default_rng(args.seed)
NIGHTS, ERROR, NOISE = 80.0, {"first": 1.0, "second": 1.5}, 3e-4
t = np.linspace(0.0, NIGHTS, args.points)
nights = np.sort(rng.choice(np.arange(NIGHTS), args.velocities, replace=False))
t_rv = nights + rng.uniform(-0.15, 0.15, args.velocities)
which = np.where(np.arange(args.velocities) % 3 == 0, "second", "first")
both = np.concatenate([t, t_rv])
drawn = spotgp.simulate_channels(star, jax.random.key(args.seed), both, channels)
flux = 1.0 + np.asarray(drawn["flux"])[0, : t.size] + NOISE * rng.normal(size=t.size)
activity = np.asarray(drawn["rv"])[0, t.size :]
error = np.array([ERROR[name] for name in which])
velocity = activity + np.asarray(planet(t_rv)) + error * rng.normal(size=t_rv.size)
velocity += np.where(which == "second", 25.0, 0.0)  # spectrographs have zero points of their own
print(f"the spots' velocities scatter by {np.std(activity):.1f} m/s, the planet's K is 6 m/s")

# the process: the star's values are rough
start = spotgp.SpotEvolutionModel(
    envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=4.0),
    visibility=spotgp.VisibilityFunction(peq=8.3, kappa=0.05, inc=1.2),
    sigma_k=float(np.std(flux)),
)
gp = spotgp.ChannelSolver(
    {
        "flux": (t, flux, NOISE),
        "rv": {name: (t_rv[which == name], velocity[which == name], ERROR[name]) for name in ERROR},
    },
    start,
    channels | {"rv": spotgp.RadialVelocity(vsini=VSINI, convective=100.0)},
    means={"rv": planet.set({"semi_amplitude": 3.0})},
    priors={
        "peq": (6.0, 11.0),
        "kappa": (0.0, 0.5),
        "lspot": dist.LogUniform(4.0, 100.0),
        "tau_spot": dist.LogUniform(1.0, 30.0),
        "vsini": dist.TruncatedNormal(VSINI, 0.05 * VSINI, low=0.0),  # from the lines
        "semi_amplitude": (0.0, 50.0),
        "period": (5.0, 5.6),
        "conjunction": (0.0, 4.0),
        "eccentricity": None,  # a circular orbit
        "omega": None,
    },
)
print(gp)
best = fit(gp.posterior)
samples = sample(
    gp.posterior,
    jax.random.key(args.seed),
    start=best,
    method=args.method,
)
print(samples)

draws = np.ravel(samples.draws["means.rv.semi_amplitude"])
alone = np.std(velocity - np.where(which == "second", 25.0, 0.0)) * np.sqrt(2.0 / t_rv.size)
print(
    Table(
        ("K of the planet", "m/s", "+-"),
        [
            ("simulated", "6.00", ""),
            ("with the activity's process", f"{np.mean(draws):.2f}", f"{np.std(draws):.2f}"),
            ("if activity were white noise", "", f"{alone:.2f}"),
        ],
    )
)
samples.save(folder / "samples.npz")
at_best = gp.at(best.values)
orbit = at_best.process.means["rv"]
period, zero = float(orbit.get("period")), float(orbit.get("conjunction"))
spotgp.plot_channels(at_best).savefig(folder / "channels.png", dpi=120)
spotgp.plot_folded(at_best, "rv", period, zero=zero).savefig(folder / "folded.png", dpi=120)
samples.corner().savefig(folder / "corner.png", dpi=60)
print(f"figures and draws in {folder}")
