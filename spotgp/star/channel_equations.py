"""Equations of the channels in SymPy, imported only when they are asked for."""

import sympy as sp

_PHI, _THETA, _INC, _KAPPA = (sp.Symbol(name, real=True) for name in ("phi", "theta", "i", "kappa"))
_MU = sp.Symbol("mu")
_LIGHT = sp.Function("V")(_MU)
_AT = sp.cos(_INC) * sp.sin(_PHI) + sp.sin(_INC) * sp.cos(_PHI) * sp.cos(_THETA)


def flux() -> dict:
    """The weight of a photometric band, with its limb-darkened brightness V(mu)."""
    return {"mu(theta)": _AT, "w(theta)": -sp.Symbol("c") * _LIGHT}


def indicator() -> dict:
    """The weight of an indicator of activity."""
    return {"mu(theta)": _AT, "w(theta)": sp.Symbol("s") * _LIGHT}


def velocity(projected) -> dict:
    """The weight of a radial velocity, from that of the equator at the limb."""
    speed = projected * sp.cos(_PHI) * (1 - _KAPPA * sp.sin(_PHI) ** 2) * sp.sin(_THETA)
    weight = -sp.Symbol("c") * sp.Symbol("v") * _LIGHT + sp.Symbol("s_c") * _MU * _LIGHT
    return {"mu(theta)": _AT, "v(theta)": speed, "w(theta)": weight}


# v sin i of what says how fast the star turns, by its parameter
PROJECTED = {
    "v_eq": sp.Symbol("v_eq", positive=True) * sp.sin(_INC),
    "vsini": sp.Symbol("v sin i", positive=True),
    "radius": 2 * sp.pi * sp.Symbol("R_star") / sp.Symbol("P_eq", positive=True) * sp.sin(_INC),
}
