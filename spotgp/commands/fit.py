"""``spotgp fit``: from the file of a light curve to the posterior of a spotted star."""

import re
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
from astropy.utils.data import get_readable_fileobj

from pytreefit import Samples, Status, Table, sample
from pytreefit.extend import (
    Command,
    Option,
    inside,
    lookup_parameter,
    new_folder,
    number,
    one_of,
    prior_limits,
    priors_table,
    reading,
    rounded,
    save_figures,
    split_fixed,
    suited,
    whole_number,
)

from ..checks.check import check
from ..checks.plot import plot_check
from ..gp.process import Process
from ..gp.solver import GPSolver
from ..io.observations import TimeSeriesData
from ..periods import RotationPeriod
from ..plot import plot_kernel, plot_light_curve, plot_periods, plot_psd
from ..star.inclination import IsotropicInclination
from ..star.model import SpotEvolutionModel
from ..star.trapezoid import TrapezoidSymmetricEnvelope
from ..star.visibility import VisibilityFunction
from ..starts.search import Search, search
from ..starts.suggest import first_guess, suggest_starts


def words(text: str) -> tuple[str, ...]:
    """A kind of option: words with commas between them."""
    return tuple(word.strip() for word in text.split(","))


_KINDS = {"arrays": "arrays of NumPy", "fits": "FITS files", "text": "text files"}
_OTHER = 0.2  # periods that differ by more, in their logarithm, are different ones

READING = (
    Option("flux", str, None, "column of the flux; by default one in which rotation is left"),
    Option("columns", words, None, "of a text file without names, such as time,flux,flux_err"),
    Option("quality", one_of("default", "hard", "none"), "default", "points by their flags"),
    Option("days", number(0.0), None, "use the first days only"),
)
PRIORS = "peq (d), kappa, inc (rad), lspot (d), tau_spot (d), sigma_k or jitter"
OPTIONS = (
    *READING,
    Option("points", whole_number(10), 300, "number of points to fit, at most"),
    Option(
        "starts",
        whole_number(1),
        8,
        "number of fits; of four or more the best suggests more",
    ),
    Option("method", one_of("auto", "mixture", "nuts"), "auto", "of sampling"),
    Option("chains", whole_number(1), 4, "of NUTS"),
    Option("warmup", whole_number(20), 500, "transitions of NUTS before its draws"),
    Option("draws", whole_number(4), 500, "of each chain"),
    Option("seed", whole_number(0), 0, "of the random numbers"),
    Option("output", Path, Path("output"), "folder for the results, a folder in it for each star"),
)


def model() -> SpotEvolutionModel:
    """A star whose values are replaced by first guesses."""
    return SpotEvolutionModel(
        envelope=TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=4.0),
        visibility=VisibilityFunction(peq=10.0, kappa=0.1, inc=1.0),
        sigma_k=0.01,
    )


def kind_of(path: Path) -> str:
    """What a file is by its first bytes: ``"arrays"`` of NumPy, ``"fits"`` or ``"text"``.

    ValueError where it is not what its name says.
    """
    with reading(path), get_readable_fileobj(path, encoding="binary") as file:
        start = file.read(6)
    if start == b"SIMPLE":
        return "fits"
    if start[:4] == b"PK\x03\x04":
        return "arrays"
    for kind, name in (("arrays", r"\.npz$"), ("fits", r"\.(fits?|fts)(\.(gz|bz2|xz))?$")):
        if re.search(name, path.name, re.IGNORECASE):
            what = f"none of the {_KINDS[kind]}, as its name says, or is damaged"
            raise ValueError(f"{path} is {what}")
    return "text"


def _refuse_ignored(kind: str, settings) -> None:
    """ValueError for an option that says nothing of this kind of file."""
    ignored = {"arrays": ("flux", "columns", "quality"), "fits": ("columns",), "text": ("quality",)}
    defaults = {option.name: option.default for option in READING}
    for name in ignored[kind]:
        if getattr(settings, name) != defaults[name]:
            raise ValueError(f"--{name} is not for {_KINDS[kind]}: leave it out")


def read(path: Path, settings) -> TimeSeriesData:
    """The light curve of a file, normalised and without outliers."""
    kind = kind_of(path)
    _refuse_ignored(kind, settings)
    with reading(path):
        data = _read(path, kind, settings)
    data = data.first(settings.days) if settings.days else data
    return data.normalize().sigma_clip(5.0)


def _read(path: Path, kind: str, settings) -> TimeSeriesData:
    flux = settings.flux
    if kind == "arrays":
        with open(path, "rb") as file, np.load(file) as arrays:
            missing = [name for name in ("time", "flux", "flux_err") if name not in arrays]
            if missing:
                raise ValueError(f"{path} has no array {', '.join(missing)}")
            values = arrays["time"], arrays["flux"], arrays["flux_err"]
        return TimeSeriesData(*values, name=path.stem)
    if kind == "fits":
        return TimeSeriesData.from_fits(path, flux, settings.quality)
    return TimeSeriesData.from_text(path, flux, columns=settings.columns)


def own_priors(settings) -> tuple[dict[str, Any], dict[str, float]]:
    """The priors of the line by short names, None for what is fixed, and the values of that."""
    return split_fixed({name.rpartition(".")[2]: p for name, p in settings.priors.items()})


def limits(prior) -> tuple[float, float]:
    """Lower and upper end of a prior of the line."""
    return prior if isinstance(prior, tuple) else prior_limits(prior)


def process_of(data: TimeSeriesData, rotation: RotationPeriod, settings) -> GPSolver:
    """The process of some points: spots that live for a rotation at least, and grow in a tenth."""
    fitted = data.thin(settings.points)
    own, fixed = own_priors(settings)
    star = first_guess(data, model(), likely_period(rotation, own, fixed))
    period = star.param_dict["peq"]
    priors = {
        "peq": (0.3 * period, 3.0 * period),
        "kappa": (0.0, 0.7),
        "inc": IsotropicInclination(),
        "lspot": dist.LogUniform(period, max(3.0 * data.span, 10.0 * period)),
        "tau_spot": dist.LogUniform(0.1 * period, data.span),
    }
    priors |= own
    start = {name: float(star.get(path)) for name, path in star.paths.items()}
    start["jitter"] = float(np.median(fitted.flux_err))
    start |= fixed
    for name, prior in priors.items():
        if prior is not None:
            start[name] = inside(start[name], *limits(prior))
    jitter = start.pop("jitter")
    star = star.set({star.paths[name]: value for name, value in start.items()})
    return GPSolver.from_data(fitted, star, jitter=jitter, priors=priors)


def likely_period(rotation: RotationPeriod, own, fixed) -> float:
    """The most probable period that a prior of the user allows, or the middle of that prior."""
    if "peq" in fixed:
        return float(fixed["peq"])
    if own.get("peq") is None:
        return rotation.period
    prior = own["peq"]
    if isinstance(prior, tuple):
        low, high = map(float, prior)
    else:  # where nearly all of it is: a normal one has no ends
        low, high = np.quantile(prior.sample(jax.random.key(0), (4000,)), [0.005, 0.995])
    allowed = [float(p) for p in (rotation.period, *rotation.candidates) if low < p < high]
    return allowed[0] if allowed else float(0.5 * (low + high))


def found_in(gp: GPSolver, rotation: RotationPeriod, number: int) -> Search:
    """The best fits, printed with what is to doubt."""
    began = time.perf_counter()
    found = search(gp, suggest_starts(gp, rotation), number=number, progress=False)
    if any(one.status is Status.INTERRUPTED for one in found.fits):
        raise KeyboardInterrupt
    print(f"{found.agreeing} of {found.independent} starts end at the best log posterior")
    print(f"to doubt: {'; '.join(found.flags) or 'nothing'}")
    print(found.table())
    value = float(gp.at(found.best.values).log_likelihood())
    print(f"best log likelihood {value:.2f}, {time.perf_counter() - began:.0f} s for the search")
    return found


def sampled(gp: GPSolver, found: Search, settings) -> Samples:
    """Draws of the posterior, with all that was said on the way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        samples = sample(
            gp.posterior,
            jax.random.key(settings.seed),
            method=settings.method,
            start=list(found.fits),
            chains=settings.chains,
            warmup=settings.warmup,
            draws=settings.draws,
            target_acceptance=0.95,
            max_depth=5,
            jumps=8,
        )
    for warning in caught:
        print(f"warning: {warning.message}")
    print(samples)
    if samples.importance is not None:
        print(samples.importance.modes())
    return samples


def periods(data: TimeSeriesData, samples: Samples) -> dict[str, Any]:
    """The star's period in several ways, printed: draws of it, or a value and its error."""
    models: Any = samples.models().get("model")
    effective = np.asarray(jax.jit(jax.vmap(lambda star: star.effective_period()))(models))
    equator = np.ravel(np.asarray(models.peq))
    lomb_scargle, acf = data.lomb_scargle(), data.autocorrelation()
    found = {
        "effective": effective,
        "equator": equator,
        "Lomb-Scargle": (lomb_scargle.period, lomb_scargle.uncertainty),
        "autocorrelation": (acf.period, acf.uncertainty),
    }
    rows = []
    for name, value in found.items():
        pair = value if isinstance(value, tuple) else (np.median(value), np.std(value))
        middle, width = map(float, pair)
        rows.append((name, rounded(middle, width), rounded(width, width)))
    print(Table(("period", "days", "+-"), rows))
    return found


def doubts(
    rotation: RotationPeriod, gp: GPSolver, samples: Samples, others: dict[str, Any]
) -> list[str]:
    """What speaks against the period: flags, a posterior that is the prior, and other methods."""
    found, name = list(rotation.flags), "model.visibility.peq"
    if name in samples.draws:
        prior: Any = gp.posterior.priors[name]
        known = np.asarray(prior.sample(jax.random.key(0), (4000,)))
        drawn = np.ravel(np.asarray(samples.draws[name]))
        before, after = (np.diff(np.quantile(x, [0.16, 0.84]))[0] for x in (known, drawn))
        if after > 0.7 * before:
            found.append("its posterior is hardly narrower than its prior")
    middle = np.median(others["effective"])
    for method in ("Lomb-Scargle", "autocorrelation"):
        period = others[method][0]
        if np.isfinite(period) and abs(np.log(period / middle)) > _OTHER:
            found.append(f"{method} finds {period:.3g} d")
    return found


def check_priors(settings) -> None:
    """ValueError for priors of what the star has not, and beyond bounds; normal ones end there."""
    star = model()
    paths = {**star.paths, **{f"model.{path}": path for path in star.paths.values()}}
    for name, prior in settings.priors.items():
        one_of(*paths, "jitter")(name)
        has = Process(star) if name == "jitter" else star
        settings.priors[name] = suited(prior, lookup_parameter(has, paths.get(name, name)))


def run(settings) -> None:
    """Fit, sample, check, and write figures and draws into a folder."""
    check_priors(settings)  # before minutes of work
    (path,) = settings.files
    data = read(path, settings)
    print(*data.history, sep="\n")
    name = re.sub(r"[^\w.+-]+", "_", data.name or path.name.partition(".")[0]).lower()
    folder = new_folder(settings.output / name)
    (folder / "settings.toml").write_text(settings.config, encoding="utf-8")

    rotation = data.rotation_period()
    print(rotation)
    gp = process_of(data, rotation, settings)
    print(gp)
    print(priors_table(gp.posterior))
    found = found_in(gp, rotation, settings.starts)
    samples = sampled(gp, found, settings)
    checked = check(gp, samples)
    print(checked)

    samples.save(folder / "samples.npz")
    best = gp.at(found.best.values)
    kernel, lag = best.process.spot_kernel(), min(10.0 * rotation.period, 0.5 * data.span)
    figures = {
        "light_curve": plot_light_curve(best),
        "check": plot_check(checked),
        "kernel": plot_kernel(kernel, data=data, max_lag=lag),
        "psd": plot_psd(kernel, data=data),
        "periods": plot_periods(others := periods(data, samples)),
    }
    save_figures(samples, figures, folder, 120)
    against = doubts(rotation, gp, samples, others)
    if found.flags:
        print(f"to doubt, of the search: {'; '.join(found.flags)}")
    if against:
        print(f"what speaks against the period: {'; '.join(against)}")
    print(f"figures and draws in {folder}")


FIT = Command(
    "fit",
    """Rotation of a spotted star, from a Kepler, TESS or other light curve.

The periods that all points suggest are the starts of fits with the spots' Gaussian process, to
some hundred points of a long light curve. The posterior is then sampled, with all its modes: by
importance sampling, and by NUTS where that fails. Spots are taken to live for a rotation at least
and to grow in a tenth of one or more, unless you give priors. At last a check says what of the
data the model does not predict. A .npz file holds arrays time (days), flux and flux_err.""",
    run,
    OPTIONS,
    files="the file of a light curve",
    priors=PRIORS,
)
