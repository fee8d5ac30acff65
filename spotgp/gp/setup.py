"""What a `GPSolver` is made of: data that are checked, priors that are chosen, sizes that fit."""

import itertools
import math
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np

from pytreefit.extend import rebuild

from ..kernel.analytic import latitude_nodes
from ..kernel.terms import AbstractTerm
from ..solvers import Layout, cost, lay_out
from .approximate import with_bins, with_harmonics, with_modes
from .priors import prior_limits, priors_by_path
from .process import LightCurve

_FASTER = 1.5  # the tables are made for periods down to the model's over this
SOLVERS = ("auto", "exact", "dense", "banded", "quasiseparable", "fourier", "local")
_KERNEL_ERROR = 5e-7  # relative to the variance, or less where that costs too much:
_DIVERGENCE = 1e-4  # between the two processes, some 0.015 in a log-likelihood
# an exact value and its gradient: points that take less than a second, or a cost of about 0.1 s
_EXACT_UP_TO, _EXACT_BELOW = 3000, 1e10
_warned_of_float32 = False


def said_or(names) -> str:
    """``'a', 'b' or 'c'``."""
    *first, last = (repr(name) for name in names)
    return f"{', '.join(first)} or {last}"


def as_array(value):
    """An array of JAX's default float type."""
    return jnp.asarray(value, jnp.result_type(float))


def as_times(t) -> np.ndarray:
    """Times on the host, in double precision."""
    t = np.asarray(t, float)
    if t.ndim != 1:
        raise ValueError(f"t has shape {t.shape} but must be one-dimensional.")
    return t


def checked_terms(terms) -> dict[str, AbstractTerm]:
    """Further processes by name; ValueError or TypeError for what is none."""
    terms = dict(terms or {})
    for name, term in terms.items():
        if name == "spots" or "." in name:
            raise ValueError(
                f"terms: the name {name!r} is taken or has a dot; give the process another one."
            )
        if not isinstance(term, AbstractTerm):
            raise TypeError(
                f"terms[{name!r}] is a {type(term).__name__} but must be an AbstractTerm such as "
                "SHOTerm or Matern32Term."
            )
    return terms


def warn_of_float32():
    """Say once that single precision is not enough for a Gaussian process."""
    global _warned_of_float32
    if jnp.result_type(float) != np.float64 and not _warned_of_float32:
        _warned_of_float32 = True
        warnings.warn(
            "A Gaussian process in single precision loses digits where the signal is far above the "
            "noise. Switch to double precision first thing in your script: "
            "jax.config.update('jax_enable_x64', True).",
            stacklevel=3,
        )


def checked_data(t, flux, flux_err, labels):
    """Arrays of finite points in order of time; ValueError for data that cannot be used."""
    time, flux = np.asarray(t, float), np.asarray(flux, float)
    error = np.asarray(flux_err, float)
    error = np.broadcast_to(error, flux.shape) if error.ndim == 0 else error
    labels = None if labels is None else np.asarray(labels)
    given = {"t": time, "flux": flux, "flux_err": error, "offsets": labels}
    for name, array in given.items():
        if array is not None and (array.ndim != 1 or array.shape != time.shape):
            raise ValueError(
                f"{name} has shape {array.shape} and t has {time.shape}: they must be "
                "one-dimensional and of the same length."
            )
    good = np.isfinite(time) & np.isfinite(flux) & np.isfinite(error)
    if good.sum() < 2:
        raise ValueError(
            f"{int(good.sum())} of {time.size} points have a finite time, flux and error; a "
            "Gaussian process needs two."
        )
    if np.any(error[good] <= 0):
        worst = float(error[good].min())
        raise ValueError(
            f"flux_err = {worst:g} is not positive: leave the point out, or state its real error."
        )
    if not good.all():
        warnings.warn(
            f"{int((~good).sum())} of {time.size} points are not finite and left out.", stacklevel=3
        )
    order = np.argsort(time[good], kind="stable")
    if np.any(np.diff(order) < 0):
        warnings.warn("The points are not in order of time: they were sorted.", stacklevel=3)
    if labels is not None:
        labels = _checked_labels(labels[good][order])
    return time[good][order], flux[good][order], error[good][order], labels


def _checked_labels(labels):
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(
            "offsets must be integers 0, 1, 2 ..., the segment of each point, not "
            f"{labels.dtype} from {labels.min()}."
        )
    empty = np.flatnonzero(np.bincount(labels) == 0)
    if empty.size:
        raise ValueError(
            f"offsets: segment {empty[0]} holds no point that is used, so that its offset is "
            "undetermined. Number the segments 0, 1, 2 ... without gaps."
        )
    return labels


def free_columns(time, labels, mean, trend):
    """Columns of shape (n, c): segments or a constant, and powers of the scaled time."""
    if trend < 0:
        raise ValueError(f"trend = {trend} must not be negative: it is a polynomial's degree.")
    columns, scaled = [], time / max(0.5 * (time[-1] - time[0]), np.finfo(float).tiny)
    if labels is not None:
        columns += [(labels == k).astype(float) for k in range(int(labels.max()) + 1)]
    elif mean is None:
        columns.append(np.ones_like(time))
    columns += [scaled**power for power in range(1, trend + 1)]
    return np.stack(columns, axis=1) if columns else np.zeros((time.size, 0))


def _largest_kernel_error(light_curve: LightCurve, time, lags: float) -> float:
    r"""The error of the kernel, relative to the variance, that a log-likelihood can bear.

    An error :math:`\epsilon k(0)` in the covariance of all pairs of points that are correlated
    makes a Kullback-Leibler divergence of at most :math:`D = \tfrac14 \mathrm{tr} (K^{-1}
    \delta K)^2` with the white noise in the place of K, and changes a log-likelihood by some
    :math:`\sqrt{2 D}`: what is far above the noise needs an accurate kernel. In steps of a factor
    of four, so that most light curves share a program.
    """
    noise = np.asarray(light_curve.flux_err, float) ** 2 + float(light_curve.jitter) ** 2
    ends = np.searchsorted(time, time + lags)
    pairs = 2.0 * np.sum(ends - np.arange(time.size))
    ratio = np.var(np.asarray(light_curve.flux, float)) / np.median(noise)
    finer = _KERNEL_ERROR * ratio * math.sqrt(pairs / (4.0 * _DIVERGENCE))
    return _KERNEL_ERROR * 0.25 ** max(math.ceil(math.log(max(finer, 1.0), 4.0)), 0)


def sized(light_curve, time, priors, solver, tolerance, knots, nodes) -> Any:
    """The light curve with the layout, table and quadrature that parameters in the priors need."""
    priors = priors_by_path(light_curve, priors)
    span = float(time[-1] - time[0])
    model = light_curve.model
    limits = {path: prior_limits(prior) for path, prior in priors.items()}
    start = float(model.envelope.kernel_support())
    reach = math.inf if light_curve.terms else _largest_support(light_curve, limits)
    layout = Layout(1, time.size, 0)
    if solver in ("auto", "exact", "banded") and reach < span:
        layout = lay_out(time, reach, dense=solver != "banded")
    if solver == "banded" and layout.tiles == 1:
        raise ValueError(
            f"solver = 'banded' saves nothing: with these priors the kernel reaches {reach:.3g} "
            f"days of the {span:.3g} observed. Give the envelope's time scales priors with lower "
            "upper ends, or use solver='dense'."
        )
    period = float(model.visibility.peq)
    fastest = max(limits.get("model.visibility.peq", (period,))[0], period / _FASTER)
    kappa = float(model.visibility.kappa)
    shear = min(limits.get("model.visibility.kappa", (kappa, kappa))[1], 1.5 * kappa + 0.1)
    lags = min(span, reach, 3.0 * start)
    error = _largest_kernel_error(light_curve, time, lags)
    if knots is None:
        finer = (_KERNEL_ERROR / error) ** 0.25  # a cubic spline's is of the fourth order
        knots = int(min(max(512, 40.0 * lags / fastest) * finer, 16384))
    if nodes is None:
        extreme = model.set({"visibility.peq": fastest, "visibility.kappa": min(shear, 0.99)})
        nodes = latitude_nodes(extreme, lags, error)
    fields = {"layout": tuple(layout), "knots": knots, "nodes": nodes}
    fields["reach"] = as_array(np.inf if layout.tiles == 1 else reach)
    light_curve = rebuild(light_curve, fields)
    many = time.size > _EXACT_UP_TO and cost(layout) > _EXACT_BELOW
    if solver == "auto" and many:
        try:
            return with_bins(light_curve, np.asarray(time), limits, reach, tolerance)
        except ValueError as reason:
            warnings.warn(f"An exact solver is taken, as {reason}", stacklevel=4)
            return light_curve
    if solver == "local":
        return with_bins(light_curve, np.asarray(time), limits, reach, tolerance)
    if solver == "fourier":
        return with_modes(light_curve, np.asarray(time), limits, reach, tolerance)
    if solver == "quasiseparable":
        return with_harmonics(light_curve, priors, tolerance)
    return light_curve


def filled_up(light_curve: LightCurve, n: int, columns: int, **static) -> Any:
    """The same light curve with arrays for ``n`` points and some columns, to share programs.

    Parameters
    ----------
    light_curve
        Not for the Fourier solver, whose sums have a length of their own.
    n, columns
        Lengths; what is added changes no result.
    **static
        New values of further fields: ``layout``, ``knots``, ``nodes``, ``tables``, ``table``.
    """
    more, wider = n - light_curve.time.size, columns - light_curve.columns.shape[1]
    steps = light_curve.columns.shape[1] - light_curve.trend
    parts = (light_curve.columns[:, :steps], light_curve.columns[:, steps:])
    wide = jnp.concatenate([parts[0], jnp.zeros((parts[0].shape[0], wider)), parts[1]], axis=1)
    arrays = {
        name: jnp.pad(getattr(light_curve, name), (0, more), mode="edge")
        for name in ("time", "flux", "flux_err")
    }
    arrays["columns"] = jnp.pad(wide, ((0, more), (0, 0)))
    arrays["real"] = jnp.pad(jnp.ones_like(light_curve.time), (0, more))
    return rebuild(light_curve, {**arrays, **static})


def _largest_support(light_curve: LightCurve, limits) -> float:
    """Support of the kernel at the corners of the envelope's priors."""
    corners = {p: v for p, v in limits.items() if p.startswith("model.envelope.")}
    if not all(math.isfinite(high) for _, high in corners.values()):
        return math.inf
    supports = []
    for values in itertools.product(*corners.values()):
        at = dict(zip(corners, values, strict=True))
        try:
            envelope = light_curve.set(at).model.envelope
        except ValueError:
            continue  # a corner of open bounds
        supports.append(float(envelope.kernel_support()))
    return max(supports, default=math.inf)


def explain(light_curve: LightCurve) -> str:
    """Why a likelihood is not finite."""
    support = float(light_curve.model.envelope.kernel_support())
    if min(support, float(light_curve.span)) > float(light_curve.reach):
        return (
            f"The kernel's support of {support:.4g} days is longer than the "
            f"{float(light_curve.reach):.4g} that the priors allowed and the banded solver was "
            "made for. Give the envelope's time scales wider priors."
        )
    sums = light_curve.sums
    if sums is not None and float(light_curve.jitter) ** 2 > float(sums.most_noise):
        return (
            f"The jitter of {float(light_curve.jitter):.3g} is larger than the "
            f"{math.sqrt(float(sums.most_noise)):.3g} that its prior allowed and the sums over the "
            "data were taken for. Give it a wider prior."
        )
    time = light_curve.time
    some = time[:: max(1, time.size // 400)]
    matrix = np.asarray(light_curve.covariance(light_curve.span).block(some, some), float)
    values = np.linalg.eigvalsh(matrix)
    if values[0] < -1e-6 * values[-1]:
        envelope = light_curve.model.envelope
        return (
            "The kernel is not positive definite: its smallest eigenvalue is "
            f"{values[0] / values[-1]:.1e} of the largest. The autocorrelation R_Gamma of "
            f"{type(envelope).__name__}({envelope.param_dict}) is not that of any envelope."
        )
    return (
        "The covariance is not positive definite to rounding: sigma_k = "
        f"{math.sqrt(float(light_curve.model.variance)):.3g} is too far above flux_err = "
        f"{float(jnp.min(light_curve.flux_err)):.3g} and jitter = {float(light_curve.jitter):.3g}. "
        "Use double precision, or give a larger jitter."
    )
