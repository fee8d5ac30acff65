"""Why a likelihood is not finite."""

import math

import jax.numpy as jnp
import numpy as np

from ..solvers.base import AbstractSolver
from .data import LightCurve
from .process import Process


def explain(solver: AbstractSolver, process: Process, data: LightCurve) -> str:
    """A sentence on what is wrong with the process, or beyond the solver."""
    reason = solver.explain(process)
    if reason:
        return reason
    some = data.time[:: max(1, data.time.size // 400)]
    covariance = solver.tables.covariance(process, data.span)
    values = np.linalg.eigvalsh(np.asarray(covariance.block(some, some), float))
    if values[0] < -1e-6 * values[-1]:
        kinds = [one.envelope for one in process.model.members]
        shown = ", ".join(f"{type(one).__name__}({one.param_dict})" for one in kinds)
        return (
            "The kernel is not positive definite: its smallest eigenvalue is "
            f"{values[0] / values[-1]:.1e} of the largest. The autocorrelation R_Gamma of "
            f"{shown} is not that of any envelope."
        )
    return (
        "The covariance is not positive definite to rounding: sigma_k = "
        f"{math.sqrt(float(process.model.variance)):.3g} is too far above flux_err = "
        f"{float(jnp.min(data.flux_err)):.3g} and jitter = "
        f"{math.sqrt(float(jnp.max(process.white_variance(data.instrument)))):.3g}. "
        "Use double precision, or give a larger jitter."
    )
