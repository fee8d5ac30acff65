"""Light curves for approximate solvers: sums over the data as fine as the tolerance asks for."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from pytreefit._model import rebuild

from .process import LightCurve
from .solvers import _fourier as fourier, _local as local
from .solvers._layout import fastest

_MOST_MODES = 6000  # a matrix of 1.2 GB
_FINE_LAGS = 8192  # at which the kernel is taken to count the modes
_NARROWER = 0.8  # from one trial of the bins' width to the next


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
    # a margin, for parameters whose spectrum falls more slowly
    modes = fourier.modes_needed(
        time - time[0],
        variance + float(light_curve.jitter) ** 2,
        fourier.cosine_variances(kernel, size),
        period,
        _MOST_MODES,
        tolerance / 2.0,
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
    width = min(span, 0.25 * reach)
    while (error := error_in_bins(light_curve, width)) > tolerance:
        width *= _NARROWER
        if width < local.KEPT * step:
            raise ValueError(
                f"solver = 'local' cannot keep the error of the log-likelihood below {tolerance:g} "
                f"(it would be {error:.2g} in bins of {width / _NARROWER:.3g} days): the signal is "
                "too far above the noise. Use solver='banded', or a larger tolerance."
            )
    bins = int(span / width) + 1
    residual = np.asarray(light_curve.flux - light_curve.mean_at(light_curve.time), float)
    variance = np.asarray(light_curve.flux_err, float) ** 2
    columns = np.asarray(light_curve.columns, float)
    sums = local.gather(time - time[0], residual, columns, variance, noise, width, bins)
    layout = fastest(bins, int(min(reach, span) / width) + 1, unit=local.KEPT)
    fields = {
        "sums": sums,
        "layout": tuple(layout),
        "reach": jnp.asarray(reach, jnp.result_type(float)),
    }
    return rebuild(light_curve, fields)


def error_in_bins(light_curve: LightCurve, width: float | None = None) -> float:
    """Estimate of the error of a log-likelihood in bins, of the light curve's own by default."""
    time = np.asarray(light_curve.time, float)
    variance = np.asarray(light_curve.flux_err, float) ** 2 + float(light_curve.jitter) ** 2
    table = light_curve.covariance(light_curve.span)
    width = float(light_curve.sums.width) if width is None else width
    reach = min(float(light_curve.model.envelope.kernel_support()), float(light_curve.span))
    return local.neglected(time, variance, _call_table(table), width, reach)


def _call_table(table):
    def kernel(lag):
        return np.asarray(_look_up(table, jnp.asarray(lag)), float)

    return kernel


@jax.jit
def _look_up(table, lag):
    return table(lag)


def check_inside(wanted, light_curve: LightCurve):
    """ValueError for times at which periodic modes would take the data's other end for near."""
    slack = 1e-6 * float(light_curve.span)
    first, last = float(light_curve.time[0]) - slack, float(light_curve.time[-1]) + slack
    if float(jnp.min(wanted)) < first or float(jnp.max(wanted)) > last:
        raise ValueError(
            "The 'fourier' solver does not extrapolate: predict at times between the first and the "
            "last point, or use another solver."
        )
