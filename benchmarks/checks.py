"""Does `check` see a wrong model, and leave a right one alone? Simulated stars, one by one.

    python benchmarks/checks.py [--stars 20] [--resume]

An active star as Kepler sees it in six quarters: a rotation of 4 days, inclined by 42 deg, spots
that live for some 10 days, 900 points in 540 days (one in 14 hours), errors of 300 ppm. Its spots
are between latitudes of 20 and 40 deg ("band"), or uniform in latitude ("uniform"); its light curve
is a draw of the process, or the sum of finite spots, ten a day with radii of some 3 deg. All are
fitted by the model whose spots are uniform in latitude: wrong for the first, right for the others.
`check` looks at that fit alone; `compare` has a fit of a band with free edges beside it. Whether
the intervals of that model's inclination contain the truth is judged by the profile likelihood: the
fit with the true inclination is lower by at most 0.5 (68 %) or 1.92 (95 %).
"""

import argparse
import time as clock
import warnings

import common
import jax
import numpy as np
import numpyro.distributions as dist

import spotgp
from pytreefit import cache_programs, fit, laplace

jax.config.update("jax_enable_x64", True)
cache_programs()
POINTS, SPAN, ERROR, RATE = 900, 540.0, 3e-4, 10.0
INCLINATION = np.radians(42.0)
PRIORS = {
    "peq": dist.LogUniform(1.5, 12.0),
    "kappa": (0.0, 0.6),
    "inc": spotgp.IsotropicInclination(),
    "lspot": dist.LogUniform(1.0, 20.0),
    "tau_spot": dist.LogUniform(0.3, 8.0),
    "sigma_k": dist.LogUniform(1e-4, 1e-1),
}
EDGES = {"lower": (0.0, 0.5 * np.pi), "upper": (0.0, 0.5 * np.pi)}
TRIED = ((10.0, 35.0), (30.0, 60.0), (5.0, 80.0))  # edges that fits of a band start from, degrees
TRUTH = {"peq": 4.0, "kappa": 0.1, "inc": INCLINATION}
TRUTH |= {"lspot": 6.0, "tau_spot": 2.0, "sigma_k": 1e-2}
INC = "model.visibility.inc"


def star(latitude, inc=INCLINATION):
    return spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=6.0, tau_spot=2.0),
        visibility=spotgp.VisibilityFunction(peq=4.0, kappa=0.1, inc=inc),
        sigma_k=1e-2,
        latitude=latitude,
    )


def band(lower, upper):
    return spotgp.LatitudeBand(np.radians(lower), np.radians(upper))


def light_curve(seed, spots, simulated):
    """Times and fluxes of a star."""
    rng = np.random.default_rng(seed)
    truth = star(band(20.0, 40.0) if spots == "band" else spotgp.UniformLatitude())
    time = (np.arange(POINTS) + rng.uniform(-0.15, 0.15, POINTS)) * SPAN / POINTS
    key = jax.random.key(seed)
    if simulated == "spots":
        flux = spotgp.simulate(truth, key, time, nspot_rate=RATE)[0]
    else:
        kernel = spotgp.AnalyticKernel(truth).kernel(time[:, None] - time[None, :])
        root = np.linalg.cholesky(np.asarray(kernel) + 1e-12 * np.eye(POINTS))
        flux = 1.0 + root @ rng.normal(size=POINTS)
    return time, np.asarray(flux) + rng.normal(0.0, ERROR, POINTS)


def process(data, latitude, priors, inc):
    return spotgp.GPSolver(*data, ERROR, star(latitude, inc), priors=priors, solver="banded")


def searched(gp, values):
    """The best fit from some values, with several bands."""
    starts = []
    for edges in TRIED:
        lower, upper = np.radians(edges)
        more = {"model.latitude.lower": lower, "model.latitude.upper": upper}
        starts.append(values | more)
    return spotgp.search(gp, starts, number=len(starts), progress=False).best


def measured(seed, spots, simulated):
    """What a fit of the uniform model says of one star, and what a band's."""
    began = clock.perf_counter()
    data = light_curve(seed, spots, simulated)
    gp = process(data, spotgp.UniformLatitude(), PRIORS, 0.9)
    found = spotgp.search(gp, progress=False)
    best = found.best
    checked = spotgp.check(gp, found)
    row = {"star": seed, "spots": spots, "simulated": simulated}
    row |= {"p": checked.p_value, "failing": list(checked.failing)}
    row |= {"inclination": float(np.degrees(best.values[INC])), "error": None}
    try:
        width = laplace(gp.posterior, best, method="differences", held=best.at_edge).std[INC]
        row["error"] = float(np.degrees(width)) or None  # at an edge it is held
    except ValueError:
        pass
    if spots == "uniform":
        own = float(gp.log_likelihood(best.values))
        row["truth is higher by"] = float(gp.log_likelihood(TRUTH)) - own
    if (spots, simulated) != ("uniform", "process"):
        row |= compared(data, gp, best, spots)
    row["s"] = clock.perf_counter() - began
    return row


def compared(data, gp, best, spots):
    """A fit of a band beside that of the uniform model."""
    values = {name: float(value) for name, value in best.values.items()}
    other = process(data, band(*TRIED[0]), PRIORS | EDGES, 0.9)
    wide = searched(other, values)
    ranking = spotgp.compare({"uniform": (gp, best), "band": (other, wide)})
    scores = {score.name: score for score in ranking}
    row = {"score": scores["band"].total - scores["uniform"].total}
    row["score error"] = max(score.error for score in ranking)
    row["log density"] = float(wide.log_density - best.log_density) + 2 * np.log(np.pi / 2)
    row["inclination, band"] = float(np.degrees(wide.values[INC]))
    if spots == "band":
        fixed = process(data, band(*TRIED[0]), PRIORS | EDGES | {"inc": None}, INCLINATION)
        known = {name: float(value) for name, value in wide.values.items() if name != INC}
        again = fit(fixed.posterior, start=known, progress=False)
        own = float(other.log_likelihood(wide.values))
        row["truth is lower by"] = own - float(fixed.log_likelihood(again.values))
        if row["truth is lower by"] > 1.92:  # or that fit ended elsewhere
            again = searched(fixed, known)
            row["truth is lower by"] = own - float(fixed.log_likelihood(again.values))
    return row


def summary(rows):
    """Of each kind of star how many are flagged, and whether intervals hold the inclination."""
    found = []
    for kind in dict.fromkeys((row["spots"], row["simulated"]) for row in rows):
        own = [row for row in rows if (row["spots"], row["simulated"]) == kind]
        said = {"spots": kind[0], "simulated": kind[1], "stars": len(own)}
        said["flagged"] = sum(row["p"] <= 0.05 for row in own)
        missed = [row for row in own if row.get("truth is higher by", 0.0) > 1.0]
        said["fits below the truth"] = len(missed)
        said["of these flagged"] = sum(row["p"] <= 0.05 for row in missed)
        said["flagged at 1 %"] = sum(row["p"] <= 0.01 for row in own)
        if "score" in own[0]:
            score = np.array([row["score"] for row in own])
            error = np.array([row["score error"] for row in own])
            said["band ahead by 2 errors"] = int(np.sum(score > 2.0 * error))
            said["median score of the band"] = float(np.median(score))
            said["scatter of the score"] = float(np.std(score))
            said["median error of the score"] = float(np.median(error))
        if kind[0] == "band":
            lower = np.array([row["truth is lower by"] for row in own])
            said["inclination inside 68 %"] = int(np.sum(lower <= 0.5))
            said["inclination inside 95 %"] = int(np.sum(lower <= 1.92))
        pulls = [
            abs(row["inclination"] - 42.0) / row["error"] for row in own if row["error"] is not None
        ]
        said["uniform model's inclination inside 2 errors"] = f"{sum(p < 2 for p in pulls)}"
        said["of"] = len(pulls)
        found.append(said)
    return found


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--stars", type=int, default=20, help="of each kind")
    parser.add_argument("--resume", action="store_true", help="go on from what is recorded")
    args = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    rows = common.recorded("checks") if args.resume else []
    done = {(row["star"], row["spots"], row["simulated"]) for row in rows}
    for seed in range(args.stars):
        for spots, simulated in (
            ("band", "process"), ("uniform", "process"), ("band", "spots"), ("uniform", "spots"),
        ):  # fmt: skip
            if (seed, spots, simulated) not in done:
                rows.append(measured(seed, spots, simulated))
                print(rows[-1], flush=True)
        common.record("checks", rows, summary=summary(rows))
    for said in summary(rows):
        print(said)


if __name__ == "__main__":
    main()
