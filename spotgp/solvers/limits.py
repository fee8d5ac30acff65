"""How far the parameters may go, and what that asks of a solver."""

import itertools
import math

from pytreefit.extend import prior_limits

from ..kernel.covariance import AbstractTables


def limits_of(priors) -> dict[str, tuple[float, float]]:
    """The ends of each prior's support by path."""
    return {path: prior_limits(prior) for path, prior in priors.items()}


def largest_support(process, priors) -> float:
    """Support of the kernel at the corners of the envelopes' priors, days; infinite with terms."""
    limits = {p: v for p, v in limits_of(priors).items() if ".envelope." in p}
    if process.terms or not all(math.isfinite(high) for _, high in limits.values()):
        return math.inf
    supports = []
    # each population by itself: the support is the largest of them
    for envelope in {p.partition(".envelope.")[0] for p in limits} or {""}:
        corners = {p: v for p, v in limits.items() if p.startswith(envelope + ".envelope.")}
        for values in itertools.product(*corners.values()):
            try:
                corner = process.set(dict(zip(corners, values, strict=True)))
            except ValueError:
                continue  # a corner of open bounds
            supports.append(float(corner.support()))
    return max(supports, default=math.inf)


def largest_lag(data, process, priors) -> float:
    """Largest lag with a covariance in the data, days: the support, and an exposure."""
    return largest_support(process, priors) + float(data.exposure or 0.0)


def largest_jitter(process, priors) -> float:
    """Upper end of its prior, or its value."""
    return limits_of(priors).get("jitter", (0.0, float(process.jitter)))[1]


def tables_of(data, process, priors, tolerance: float) -> AbstractTables:
    """Tables of the kernel that are as fine as a tolerance of the log-likelihood asks for."""
    reach = min(data.span, largest_lag(data, process, priors))
    return process.tables(data, reach, tolerance)
