"""How often the period search is right, on simulated stars, beside simpler ways on the same stars.

    python benchmarks/periods.py [--stars 300] [--seed 0] [--limit]

Rotation periods are log-uniform from 0.2 to 60 d, spots live for 0.5 to 10 rotations, the scatter
of the signal is 0.5 to 50 times the noise of a point; five kinds of observations. A period is right
if it is within a tenth of the star's (`SpotEvolutionModel.effective_period`). "good" is what
`rotation_period` says itself; the others have no such opinion but the agreement of their two. With
``--limit`` the stars with P < half the baseline and S/N >= 2 are also given to somebody who knows
the star's own process but for its period: what no search can surpass by much.
"""

import argparse
import time as clock

import common
import equinox as eqx
import jax
import numpy as np
from scipy.linalg import solve_triangular

import spotgp

jax.config.update("jax_enable_x64", True)
MOST = 1200  # points for the limit of what can be known
KINDS = ("Kepler, 90 d", "K2, 80 d", "one sector", "two sectors a year apart", "nightly, 120 d")


def times(kind, rng):
    """Days since the first point."""
    if kind == "Kepler, 90 d":
        t = np.arange(0.0, 90.0, 0.02043)
        return t[(np.abs(t - 31.0) > 0.5) & (np.abs(t - 62.0) > 0.5)]
    if kind == "K2, 80 d":
        t = np.arange(0.0, 80.0, 0.02043)
        return t[np.arange(t.size) % 12 != 0]  # firings of the thrusters
    sector = np.arange(0.0, 27.4, 0.0208)
    sector = sector[np.abs(sector - 13.7) > 0.6]
    if kind == "one sector":
        return sector
    if kind == "two sectors a year apart":
        return np.concatenate([sector, sector + 365.0])
    nights = np.arange(120.0)
    nights = nights[rng.uniform(size=nights.size) < 0.6]
    night = nights[:, None] + rng.uniform(-0.15, 0.15, (nights.size, 2))
    return np.sort(night.ravel())


def star(number, seed, grids, again=0):
    """Kind, period, signal to noise, lives in rotations, and a light curve; one that varies."""
    rng = np.random.default_rng([seed, number, again])
    kind = KINDS[number % len(KINDS)]
    t = grids[kind]
    peq = float(np.exp(rng.uniform(np.log(0.2), np.log(60.0))))
    lives = float(np.exp(rng.uniform(np.log(0.5), np.log(10.0))))
    snr = float(np.exp(rng.uniform(np.log(0.5), np.log(50.0))))
    model = spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(
            lspot=0.5 * lives * peq, tau_spot=0.25 * lives * peq
        ),
        visibility=spotgp.VisibilityFunction(
            peq=peq, kappa=rng.uniform(0.0, 0.1), inc=float(np.arccos(rng.uniform(0.0, 0.9)))
        ),
        sigma_k=0.01,
    )
    rate = rng.uniform(3.0, 8.0) / (lives * peq)
    key = jax.random.key(int(rng.integers(2**31)))
    flux = np.asarray(spotgp.simulate(model, key, t, nspot_rate=rate))[0]
    if not np.ptp(flux) > 0:  # not a spot was there at the time
        return star(number, seed, grids, again + 1)
    error = np.std(flux) / snr
    flux = flux + error * rng.normal(size=t.size)
    return {
        "kind": kind, "period": float(model.effective_period()), "snr": snr, "lives": lives,
        "baseline": 27.4 if "sector" in kind else float(np.ptp(t)),
    }, model, t, flux, np.full(t.size, error)  # fmt: skip


@eqx.filter_jit
def kernel(model, lags):
    return spotgp.AnalyticKernel(model).kernel(lags)


def limit(row, model, t, flux, error):
    """Period and probability for somebody who knows all else, from the process's likelihood.

    Means in bins of a 25th of the period, of the first part if these are too many.
    """
    data, width = spotgp.TimeSeriesData(t, flux, error), row["period"] / 25.0
    if t.size > MOST:
        data = data.bin(width) if width > 2.0 * data.cadence else data
        data = data.select(t_max=data.time[min(len(data), MOST) - 1])
    flux, noise = data.flux - np.mean(data.flux), np.diag(data.flux_err**2)
    apart = np.abs(data.time[:, None] - data.time)
    scatter = np.var(flux)
    variance = max(scatter - np.mean(data.flux_err**2), 1e-3 * scatter)
    # the mean is not known, and no star is a process to many digits
    noise += 1e-6 * variance * np.eye(flux.size) + 10.0 * variance
    lags = np.linspace(0.0, 1.02 * float(model.envelope.kernel_support()), 3000)
    ratios, found = np.exp(np.linspace(np.log(0.2), np.log(5.0), 161)), []
    for ratio in ratios:
        period = ratio * float(model.visibility.peq)
        values = np.asarray(kernel(model.set({"visibility.peq": period}), lags))
        matrix = np.interp(apart, lags, values / values[0], right=0.0)
        logs = []
        for factor in (0.5, 1.0, 2.0):
            root = np.linalg.cholesky(factor * variance * matrix + noise)
            left = solve_triangular(root, flux, lower=True)
            logs.append(-0.5 * left @ left - np.sum(np.log(np.diagonal(root))))
        found.append(np.logaddexp.reduce(logs))
    weights = np.exp(found - np.max(found))
    weights /= np.sum(weights)
    near = np.abs(np.log(ratios[:, None] / ratios)) < 0.1
    best = near[np.argmax(near @ weights)]
    probability = float(best @ weights)
    period = float((best * ratios) @ weights / probability * model.effective_period())
    return {"limit": period, "known": bool(probability >= 0.8)}


def measured(number, seed, grids, with_limit):
    """What each way says of a star."""
    row, model, t, flux, error = star(number, seed, grids)
    segment = (np.diff(t, prepend=t[0]) > 100.0).cumsum()
    began = clock.perf_counter()
    found = spotgp.rotation_period(t, flux, error, segment=segment)
    row["seconds"] = clock.perf_counter() - began
    if with_limit and easy(row):
        row |= limit(row, model, t, flux, error)
    return row | {
        "number": number, "found": found.period, "uncertainty": found.uncertainty,
        "good": found.good, "flags": found.flags, "probability": float(found.probability),
        "lomb_scargle": spotgp.lomb_scargle(t, flux, error).period,
        "autocorrelation": spotgp.autocorrelation(t, flux).period,
    }  # fmt: skip


def easy(row):
    return row["period"] < 0.5 * row["baseline"] and row["snr"] >= 2.0


def right(row, name):
    return bool(abs(row[name] / row["period"] - 1.0) < 0.1)


def summary(rows):
    """Shares in percent."""

    def percent(part, whole):
        return round(100.0 * sum(part) / len(whole)) if whole else None

    found = {}
    for kind in (*KINDS, "all"):
        own = [row for row in rows if kind in (row["kind"], "all")]
        good = [row for row in own if row["good"]]
        clear = [row for row in own if easy(row)]
        asked = [row for row in clear if "known" in row]
        known = [row for row in asked if row["known"]]
        agreed = [r for r in own if abs(r["lomb_scargle"] / r["autocorrelation"] - 1.0) < 0.1]
        found[kind] = {
            "stars": len(own),
            "right": percent([right(r, "found") for r in own], own),
            "called good": percent([r["good"] for r in own], own),
            "right of those called good": percent([right(r, "found") for r in good], good),
            "easy": len(clear),
            "called good of the easy": percent([r["good"] for r in clear], clear),
            "known of the easy": percent([r["known"] for r in asked], asked),
            "right of those known": percent([right(r, "limit") for r in known], known),
            "Lomb-Scargle right": percent([right(r, "lomb_scargle") for r in own], own),
            "autocorrelation right": percent([right(r, "autocorrelation") for r in own], own),
            "both agree": percent([r in agreed for r in own], own),
            "right where both agree": percent([right(r, "lomb_scargle") for r in agreed], agreed),
            "seconds": round(float(np.median([r["seconds"] for r in own])), 2) if own else None,
        }
    return found


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--stars", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--show", action="store_true", help="a line for each star that is not right"
    )
    parser.add_argument("--limit", action="store_true", help="what could be known, too")
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    grids = {kind: times(kind, rng) for kind in KINDS}
    rows = []
    for number in range(args.stars):
        rows.append(measured(number, args.seed, grids, args.limit))
        row = rows[-1]
        if args.show and (row["good"] != right(row, "found")):
            print(number, row, flush=True)
    table = summary(rows)
    for kind, row in table.items():
        print(kind, row)
    common.record("periods", [{"kind": kind, **row} for kind, row in table.items()])


if __name__ == "__main__":
    main()
