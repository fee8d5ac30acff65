"""Equations of the trapezoids in SymPy, imported only when they are asked for."""

from typing import Any

import sympy as sp

from ..kernel.symbolic import symbols

(_T, _OMEGA, _LAG), _ = symbols()
_BEFORE = sp.Symbol("x")  # by how much a lag is shorter than a distance of two knots


def _profile(corners):
    """Gamma(t) from the corners of all trapezoids."""
    pieces = []
    for start, top, end, stop in corners:
        pieces += [
            (sp.S.Zero, _T < start),
            ((_T - start) / sp.expand(top - start), _T < top),
            (sp.S.One, _T <= end),
            ((stop - _T) / sp.expand(stop - end), _T <= stop),
        ]
    return sp.Piecewise(*pieces, (sp.S.Zero, True))


def _truncated_powers(corners):
    """Gamma^2 as a sum of c (t - knot)_+^n / n!, tuples (c, knot, n)."""
    powers = []
    for start, top, end, stop in corners:
        up, down = sp.expand(top - start), sp.expand(stop - end)
        powers += [(2 / up**2, start, 2), (-2 / up**2, top, 2), (-2 / up, top, 1)]
        powers += [(-2 / down, end, 1), (2 / down**2, end, 2), (-2 / down**2, stop, 2)]
    return powers


def _ends(corners):
    """What of R_Gamma(s) ends at each distance d of two knots: a polynomial of d - s, by d > 0."""
    ends = {}
    for c1, knot1, n1 in _truncated_powers(corners):
        for c2, knot2, n2 in _truncated_powers(corners):
            distance, degree = sp.expand(knot2 - knot1), n1 + n2 + 1
            # distances are sums of positive times, or minus these
            if distance.subs(dict.fromkeys(distance.free_symbols, 1)) > 0:
                factor = sp.Rational((-1) ** (n1 + degree), sp.factorial(degree)) * c1 * c2
                ends[distance] = ends.get(distance, sp.S.Zero) + factor * _BEFORE**degree
    order = sorted(ends, key=lambda distance: (-len(distance.free_symbols), str(distance)))
    return {distance: sp.factor(ends[distance]) for distance in order}


def _autocorrelation(corners):
    """R_Gamma(tau) as a sum of what ends at each distance of two knots, in any order of these."""
    s = sp.Abs(_LAG)
    return sum(
        sp.Piecewise((end.subs(_BEFORE, distance - s), s < distance), (sp.S.Zero, True))
        for distance, end in _ends(corners).items()
    )


def _pieces(corners, l, tau):
    """R_Gamma(tau) of a symmetric trapezoid in pieces, for either order of plateau and ramps."""
    ends, s, u = _ends(corners), sp.Symbol("s"), sp.Symbol("u")
    total: Any = sp.S.Zero
    reached = {}  # by the distance up to which the sum of these holds
    for distance in (l + 2 * tau, l + tau, l, tau):
        total = total + ends[distance].subs(_BEFORE, distance - s)
        reached[distance] = sp.expand(total)
    lag = sp.Abs(_LAG)
    ramp = sp.expand(reached[l + tau].subs(s, l + u)).subs(u, lag - l)
    short = ramp + ends[tau].subs(_BEFORE, tau - lag)
    pieces = [
        (reached[tau], sp.And(s <= l, s <= tau)),
        (reached[l], s <= l),
        (short, s <= tau),
        (ramp, s <= l + tau),
        (ends[l + 2 * tau].subs(_BEFORE, l + 2 * tau - s), s <= l + 2 * tau),
    ]
    pieces = [(value.subs(s, lag), where.subs(s, lag)) for value, where in pieces]
    return sp.Piecewise(*pieces, (sp.S.Zero, True))


def _transform(corners):
    """Gamma_hat(omega) with its limit at 0."""
    total = sum(
        factor * sp.exp(-sp.I * _OMEGA * knot) / (sp.I * _OMEGA) ** (n + 1)
        for factor, knot, n in _truncated_powers(corners)
    )
    area = sum((end - top) + (stop - end + top - start) / 3 for start, top, end, stop in corners)
    return sp.Piecewise((sp.expand(area), sp.Eq(_OMEGA, 0)), (total, True))


def symmetric():
    """Gamma, Gamma_hat and R_Gamma of one symmetric trapezoid."""
    _, (l, tau) = symbols("lspot", "tau_spot")
    corners = [(-l / 2 - tau, -l / 2, l / 2, l / 2 + tau)]
    half = _OMEGA * l / 2
    away = _OMEGA * tau * sp.cos(half) + sp.sin(half) - sp.sin(half + _OMEGA * tau)
    transform = sp.Piecewise(
        (l + 2 * tau / 3, sp.Eq(_OMEGA, 0)), (4 * away / (_OMEGA**3 * tau**2), True)
    )
    return _profile(corners), transform, _pieces(corners, l, tau)


def asymmetric():
    """Gamma, Gamma_hat and R_Gamma of one asymmetric trapezoid."""
    _, (l, up, down) = symbols("lspot", "tau_em", "tau_dec")
    corners = [(-l / 2 - up, -l / 2, l / 2, l / 2 + down)]
    return _profile(corners), _transform(corners), _autocorrelation(corners)


def sequence(plateaus, ramps, gaps):
    """Gamma and Gamma_hat of several; R_Gamma has too many terms to be read."""
    times, time = [], sp.S.Zero
    lengths, ramps, gaps = (symbols(*names)[1] for names in (plateaus, ramps, gaps))
    for plateau, ramp, gap in zip(lengths, ramps, (*gaps, sp.S.Zero), strict=True):
        times.append([time, time + ramp, time + ramp + plateau, time + 2 * ramp + plateau])
        time = times[-1][-1] + gap
    corners = [tuple(sp.expand(knot - time / 2) for knot in knots) for knots in times]
    return _profile(corners), _transform(corners), None
