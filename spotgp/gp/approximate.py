"""Light curves for approximate solvers: sums over the data as fine as the tolerance asks for."""

import math

import jax.numpy as jnp
import numpy as np
import tinygp
from scipy.interpolate import BSpline

from pytreefit import jit
from pytreefit.extend import rebuild

from ..kernel.harmonics import MOST_HARMONICS, harmonics_needed
from ..kernel.table import KernelTable
from ..solvers import (
    bin_sums as bin_sums,
    bins_algebra as local,
    bins_error as local_error,
    fourier_algebra as fourier,
)
from ..solvers.layout import fastest
from ..solvers.quasiseparable_algebra import tile_size
from ..star.exponential import ExponentialAsymmetricEnvelope, ExponentialEnvelope
from ..star.visibility import AbstractVisibility
from .process import LightCurve

_MOST_MODES = 6000  # a matrix of 1.2 GB
_FINE_LAGS = 8192  # at which the kernel is taken to count the modes
_ROTATIONS = 2.5  # to either side in which errors of polynomials in bins are looked for
_NARROWER = 1.1  # how far the bins' width may be from the widest that keeps the tolerance


def with_modes(light_curve: LightCurve, time, limits, reach: float, tolerance: float):
    """The light curve with its sums against as many Fourier modes as the tolerance asks for."""
    noise = _largest_noise("fourier", light_curve, limits, reach)
    span = float(time[-1] - time[0])
    step = reach / (_FINE_LAGS - 1)
    size = 2 * math.ceil(0.5 * max(span + reach, 2.0 * reach) / step)
    period = size * step
    support = float(light_curve.model.envelope.kernel_support())
    lag = step * np.arange(_FINE_LAGS)
    kernel = np.where(lag <= support, light_curve.spot_kernel().kernel(lag), 0.0)
    variance = np.asarray(light_curve.flux_err, float) ** 2
    # a margin, for what the data's own power adds to the error that is stated
    modes = fourier.modes_needed(
        time - time[0],
        variance + float(light_curve.jitter) ** 2,
        fourier.cosine_variances(kernel, size),
        period,
        _MOST_MODES,
        0.75 * tolerance,
    )
    if modes is None:
        raise ValueError(
            f"solver = 'fourier' needs more than {_MOST_MODES} modes to keep the error of the "
            f"log-likelihood below {tolerance:g}: the signal is too far above the noise, or the "
            "light curve too long. Use solver='banded', or bin to a small fraction of the rotation "
            "period."
        )
    modes = 16 * math.ceil(modes / 16)
    residual = np.asarray(light_curve.flux - light_curve.mean_at(light_curve.time), float)
    columns = np.asarray(light_curve.columns, float)
    sums = fourier.gather(time - time[0], residual, columns, variance, noise, period, modes)
    lags = math.ceil(8 * modes * reach / period) + 1
    fields = {
        "sums": sums,
        "modes": modes,
        "lags": lags,
        "reach": jnp.asarray(reach, jnp.result_type(float)),
    }
    return rebuild(light_curve, fields)


def _largest_noise(solver: str, light_curve: LightCurve, limits, reach: float) -> float:
    """Largest variance of the jitter; ValueError for what approximate solvers cannot take."""
    if light_curve.terms or light_curve.amplitude is not None:
        raise ValueError(
            f"solver = {solver!r} is for spots alone, with a constant amplitude: use 'dense' or "
            "'banded' with terms or a NonstationaryAnalyticKernel."
        )
    if any(path.startswith("mean.") for path in limits):
        raise ValueError(
            f"solver = {solver!r} takes no mean function with free parameters: offsets, a trend "
            "and a constant are integrated out; or fix the mean's parameters, or use another "
            "solver."
        )
    if not math.isfinite(reach):
        raise ValueError(
            f"solver = {solver!r} must know how far the kernel may reach: give the envelope's time "
            "scales priors with upper ends, such as priors={'lspot': (1.0, 30.0)}."
        )
    noise = limits.get("jitter", (0.0, float(light_curve.jitter)))[1] ** 2
    if not math.isfinite(noise):
        raise ValueError(
            f"solver = {solver!r} takes sums over the data for all values of the jitter: give it a "
            "prior with an upper end."
        )
    return noise


def with_bins(light_curve: LightCurve, time, limits, reach: float, tolerance: float):
    """The light curve with its sums in bins as narrow as the tolerance asks for."""
    noise = _largest_noise("local", light_curve, limits, reach)
    span = float(time[-1] - time[0])
    step = max(float(np.median(np.diff(time))), span / (4.0 * time.size))
    errors_at = _errors_in_bins(light_curve)

    def error_at(width):
        return errors_at(width).total

    width = too_wide = min(span, 0.25 * reach)
    while not (error := error_at(width)) <= tolerance:
        too_wide, width = width, 0.5 * width
        if width < local.KEPT * step:
            raise ValueError(
                f"solver = 'local' cannot keep the error of the log-likelihood below {tolerance:g} "
                f"(it would be {error:.2g} in bins of {too_wide:.3g} days): the signal is too far "
                "above the noise. Use solver='banded', or a larger tolerance."
            )
    while too_wide > _NARROWER * width:
        middle = math.sqrt(width * too_wide)
        if error_at(middle) <= tolerance:
            width = middle
        else:
            too_wide = middle
    bins = int(span / width) + 1
    residual = np.asarray(light_curve.flux - light_curve.mean_at(light_curve.time), float)
    variance = np.asarray(light_curve.flux_err, float) ** 2
    columns = np.asarray(light_curve.columns, float)
    sums = bin_sums.gather(time - time[0], residual, columns, variance, noise, width, bins)
    layout = fastest(bins, int(min(reach, span) / width) + 1, unit=local.KEPT)
    fields = {
        "sums": sums,
        "layout": tuple(layout),
        "reach": jnp.asarray(reach, jnp.result_type(float)),
    }
    return rebuild(light_curve, fields)


def error_in_bins(light_curve: LightCurve) -> float:
    """Estimate of the error of a log-likelihood in the light curve's bins."""
    errors = _errors_in_bins(light_curve)(float(light_curve.sums.width))
    return errors.degrees + errors.within + float(_determinant_error(light_curve))


@jit
def _determinant_error(light_curve):
    kernel = light_curve.covariance(light_curve.span)
    noise = light_curve.jitter**2
    return local.determinant_error(light_curve.sums, kernel, noise, light_curve.layout)


def _errors_in_bins(light_curve: LightCurve):
    """A function of the bins' width: estimates of the errors."""
    time = np.asarray(light_curve.time, float)
    variance = np.asarray(light_curve.flux_err, float) ** 2 + float(light_curve.jitter) ** 2
    kernel = _in_numpy(_table_of(light_curve))
    # what repeats itself with every rotation ties bins to those some rotations before
    reach = min(_ROTATIONS * float(light_curve.model.visibility.peq), float(light_curve.span))
    return lambda width: local_error.neglected(time, variance, kernel, width, reach)


@jit
def _table_of(light_curve) -> KernelTable:
    return light_curve.covariance(light_curve.span)


def _in_numpy(table: KernelTable):
    """The same function of the lag: one for JAX compiles for each shape."""
    coefficients = np.asarray(table.coefficients, float)
    # the first spline ends after one step
    spline = BSpline(np.arange(coefficients.size + 4.0) - 3.0, coefficients, 3)
    scale, cut = float(table.scale), float(table.cut)
    return lambda lag: np.where(lag <= cut, spline(np.sqrt(np.minimum(lag, cut)) * scale), 0.0)


def quasiseparable_obstacle(light_curve: LightCurve, priors) -> str | None:
    """Why the quasiseparable solver is not for a light curve, or None where it is.

    Parameters
    ----------
    light_curve
        With concrete values.
    priors
        Of the free parameters, by path.
    """
    model = light_curve.model
    if not isinstance(model.envelope, ExponentialEnvelope | ExponentialAsymmetricEnvelope):
        return (
            f"the autocorrelation of a {type(model.envelope).__name__} is no sum of exponentials: "
            "it takes an ExponentialEnvelope or an ExponentialAsymmetricEnvelope"
        )
    if "model.visibility.kappa" in priors:
        return "kappa is free, but it takes stars without shear: start at kappa = 0 without a prior"
    if float(model.visibility.kappa) != 0.0:
        return f"kappa = {float(model.visibility.kappa):g}, but it takes stars without shear"
    if type(model.visibility).omega0 is not AbstractVisibility.omega0:
        return f"{type(model.visibility).__name__} has a law of rotation of its own"
    if light_curve.amplitude is not None:
        return "it takes a constant amplitude, no NonstationaryAnalyticKernel"
    for name, term in light_curve.terms.items():
        if not isinstance(term.tinygp_kernel(), tinygp.kernels.quasisep.Quasisep):
            return f"terms[{name!r}] is a {type(term).__name__}, none of tinygp's quasisep kernels"
    return None


def quasiseparable_harmonics(light_curve: LightCurve, tolerance: float) -> tuple[int, ...] | None:
    """The harmonics that were asked for, or that a tolerance asks for; None if too many."""
    if light_curve.orders is not None:
        return tuple(sorted(light_curve.orders))
    weight = 1.0 / (light_curve.flux_err**2 + light_curve.jitter**2)
    model, nodes = light_curve.model, light_curve.nodes
    return harmonics_needed(model, nodes, light_curve.time, weight, tolerance)


def with_harmonics(light_curve: LightCurve, priors, tolerance: float):
    """The light curve in tiles, with as many harmonics as the tolerance asks for."""
    obstacle = quasiseparable_obstacle(light_curve, priors)
    if obstacle:
        raise ValueError(f"solver = 'quasiseparable' is not for this light curve: {obstacle}.")
    harmonics = quasiseparable_harmonics(light_curve, tolerance)
    if harmonics is None:
        raise ValueError(
            f"solver = 'quasiseparable' needs more than {MOST_HARMONICS} harmonics to keep the "
            f"error of the log-likelihood below {tolerance:g}: the signal is too far above the "
            "noise. Name the harmonics in an AnalyticKernel(model, orders=...), or use another "
            "solver."
        )
    n, size = light_curve.time.size, tile_size(light_curve.states(harmonics).size)
    layout = (-(-n // size), size, 0)
    reach = jnp.asarray(np.inf, jnp.result_type(float))
    return rebuild(light_curve, {"harmonics": harmonics, "layout": layout, "reach": reach})


def check_inside(wanted, light_curve: LightCurve):
    """ValueError for times at which periodic modes would take the data's other end for near."""
    slack = 1e-6 * float(light_curve.span)
    first, last = float(light_curve.time[0]) - slack, float(light_curve.time[-1]) + slack
    if float(jnp.min(wanted)) < first or float(jnp.max(wanted)) > last:
        raise ValueError(
            "The 'fourier' solver does not extrapolate: predict at times between the first and the "
            "last point, or use another solver."
        )
