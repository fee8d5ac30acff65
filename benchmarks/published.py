"""Published numbers of real disks and stars, found again.

    python benchmarks/published.py DATA

``DATA`` has the folders ``disks`` (Gemini Planet Imager, Esposito et al. 2020, AJ 160, 24) and
``lightcurves``. Disks are fitted with noise of correlated pixels, from the literature's geometry.
Light curves are searched without a start; the period is the one at the latitudes that carry the
modulation, to be compared with a periodogram's.
"""

import argparse
import pathlib

import common
import correlated
import equinox as eqx
import jax
import numpy as np

import spotgp
from pytreefit import sample

jax.config.update("jax_enable_x64", True)
ESPOSITO = "literature, with the data of Esposito et al. 2020, AJ 160, 24"
# inclination and position angle in degrees
DISKS = {
    "hr4796a": ("HR 4796 A", 76.5, 26.1),
    "hd117214": ("HD 117214", 71.0, 179.8),
    "hd145560": ("HD 145560", 43.9, 41.5),
    "hd157587": ("HD 157587", 70.0, 127.0),
}
STAR = "kplr001430163-2010355172524_llc.fits.gz"
PERIODS = {
    "Foreman-Mackey et al. 2017, AJ 154, 220": "3.80 ± 0.15",
    "Mathur et al. 2014, A&A 562, A124": "3.88 ± 0.58",
}


def disk(folder, key):
    """Rows of one disk."""
    name, inclination, position_angle = DISKS[key]
    data, scene, priors = correlated.disk_of(folder, key)
    noise, more = correlated.noises()["correlated"]
    _, found, widths = correlated.measured(scene.set({"noise": noise}), data, priors | more)
    published = {"inclination": inclination, "position_angle": position_angle}
    return [
        {
            "name": name,
            "quantity": f"{quantity.replace('_', ' ')}, deg",
            "published": f"{value}",
            "source": ESPOSITO,
            "here": found[f"disk.{quantity}"],
            "error": widths[f"disk.{quantity}"],
        }
        for quantity, value in published.items()
    ]


def star(path):
    """Rows of KIC 1430163: the median of its effective period, and the standard deviation."""
    data = spotgp.TimeSeriesData.from_fits(path).normalize().sigma_clip()
    model = spotgp.SpotEvolutionModel(
        spotgp.TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=4.0),
        spotgp.VisibilityFunction(peq=4.0, kappa=0.1, inc=1.2),
        sigma_k=0.003,
    )
    priors = {"peq": (1.0, 12.0), "lspot": (2.0, 60.0)}
    gp = spotgp.GPSolver.from_data(data.thin(300), model, jitter=1e-4, priors=priors)
    fits = list(spotgp.search(gp, progress=False).fits)
    draws = sample(gp.posterior, jax.random.key(0), method="auto", start=fits, progress=False)
    models = draws.models(400, jax.random.key(1)).model
    periods = np.asarray(eqx.filter_vmap(lambda model: model.effective_period())(models))
    row = {"name": "KIC 1430163", "quantity": "rotation period, d"}
    row |= {"here": float(np.median(periods)), "error": float(np.std(periods))}
    return [row | {"published": p, "source": source} for source, p in PERIODS.items()]


def kepler63():
    """Rows of what `kepler63.py` measured."""
    found = {row["parameter"]: row for row in common.recorded("kepler63_posterior")}
    source = "Sanchis-Ojeda et al. 2013, ApJ 775, 54"
    compared = {
        "rotation period, d": ("effective period", "5.401 ± 0.014"),
        "inclination, deg": ("inclination", "42 ± 7 or 138 ± 7"),
    }
    return [
        {
            "name": "Kepler-63",
            "quantity": quantity,
            "published": published,
            "source": source,
            "here": found[name]["mean"],
            "error": found[name]["standard deviation"],
        }
        for quantity, (name, published) in compared.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    rows = kepler63() + star(folder / "lightcurves" / STAR)
    for key in DISKS:
        rows += disk(folder / "disks", key)
        print(rows[-2:], flush=True)
    common.record("published", rows)


if __name__ == "__main__":
    main()
