"""Printed equations, and that they are the ones that are computed."""

import subprocess
import sys
import types

import numpy as np
import pytest
import sympy

import spotgp
from spotgp.kernel.symbolic import show, symbol_name
from spotgp.star.channels import SOLAR_RADIUS_PER_DAY
from spotgp.star.cross import weight_of

from .test_envelope import ENVELOPES

CLOSED = (
    "symmetric",
    "short plateau",
    "asymmetric",
    "double",
    "triple",
    "exponential",
    "two rates",
    "equal rates",
    "exponential plateau",
    "logistic",
    "skewed",
    "modulated gamma",
)
DARK = spotgp.QuadraticLimbDarkening(0.4, 0.2)
# channels, and values by the symbols of their parameters
CHANNELS = {
    "flux": (spotgp.FluxBand(0.7), {"c": 0.7}),
    "dark flux": (spotgp.FluxBand(0.7, DARK), {"c": 0.7}),
    "indicator": (spotgp.ActivityIndicator(3.0), {"s": 3.0}),
    "equator": (spotgp.RadialVelocity(900.0), {"c": 1.0, "s_c": 0.0, "v_eq": 900.0}),
    "projected": (
        spotgp.RadialVelocity(vsini=900.0, contrast=0.8, convective=150.0, limb=DARK),
        {"c": 0.8, "s_c": 150.0, "v sin i": 900.0},
    ),
    "radius": (
        spotgp.RadialVelocity(radius=0.9),
        {"c": 1.0, "s_c": 0.0, "P_eq": 5.0, "R_star": 0.9 * SOLAR_RADIUS_PER_DAY},
    ),
}
ARGUMENTS = {"Gamma": "t", "Gamma_hat": "omega", "R_Gamma": "tau"}
POINTS = {
    "Gamma": [-7.1, -2.2, 0.3, 4.6],
    "Gamma_hat": [0.4, 1.7, -3.3],
    "R_Gamma": [0.3, 2.6, 8.9],
}


@pytest.mark.parametrize("name", CLOSED)
def test_equations_are_those_computed(name, capsys):
    envelope = ENVELOPES[name]
    expressions = envelope.get_sympy()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == type(envelope).__name__
    assert len(lines) == 4
    assert all(line.startswith("  $ ") for line in lines[1:])
    assert [line.endswith("[numerical]") for line in lines[1:]] == [
        expression is None for expression in expressions.values()
    ]
    values = {symbol_name(name): value for name, value in envelope.param_dict.items()}
    if name == "modulated gamma":
        values = {"tau_spot": values["tau"], "omega_mod": values["omega"], **values}
        del values["tau"], values["omega"]
    for key, expression in expressions.items():
        if expression is None:
            continue
        symbols = {str(symbol): symbol for symbol in expression.free_symbols}
        known = {symbols[k]: v for k, v in values.items() if k in symbols}
        if "A_max" in symbols:  # the peak, which has no closed form
            known[symbols["A_max"]] = 1.0
        if key in ("Gamma", "Gamma_hat") and "A_max" in symbols:
            reference = expression.subs(known)
            x = symbols[ARGUMENTS[key]]
            found = np.array([complex(reference.subs(x, p)) for p in (0.9, 1.7)])
            computed = np.asarray(getattr(envelope, key)(np.array([0.9, 1.7])))
            np.testing.assert_allclose(found[0] / found[1], computed[0] / computed[1], rtol=1e-9)
            continue
        function = sympy.lambdify(symbols[ARGUMENTS[key]], expression.subs(known), "numpy")
        found = [complex(function(point)) for point in POINTS[key]]
        computed = np.asarray(getattr(envelope, key)(np.array(POINTS[key])))
        np.testing.assert_allclose(found, computed, rtol=1e-9, atol=1e-9)


def test_left_sides(capsys):
    x = sympy.Symbol("x")
    result = show("Thing", {"omega_0(phi, x)": x**2, "c_n": None, "Gamma_hat(omega)": x})
    assert result == {"omega_0": x**2, "c_n": None, "Gamma_hat": x}
    assert capsys.readouterr().out.splitlines() == [
        "Thing",
        r"  $ \omega_{0}\left(\phi, x\right) = x^{2} $",
        "  $ c_{n} = $ [numerical]",
        r"  $ \hat{\Gamma}\left(\omega\right) = x $",
    ]


def test_bad_left_side():
    with pytest.raises(ValueError, match="'a b' cannot stand left of an equation"):
        show("Thing", {"a b": None})


def test_jupyter_renders(monkeypatch, capsys):
    shown = []
    display = types.ModuleType("IPython.display")
    display.Math, display.display = lambda latex: latex, shown.append  # pyright: ignore
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # pyright: ignore
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    show("Thing", {"c_0": sympy.Symbol("x"), "c_1": None})
    assert shown == [r"\textbf{Thing}", "c_{0} = x", r"c_{1} = \text{[numerical]}"]
    assert capsys.readouterr().out == ""


def test_sympy_is_imported_only_when_asked():
    code = "import sys, spotgp;assert 'sympy' not in sys.modules and 'IPython' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("times", [(6.0, 2.0), (2.0, 6.0)])
def test_the_trapezoid_in_pieces(times, capsys):
    envelope = spotgp.TrapezoidSymmetricEnvelope(*times)
    found = envelope.get_sympy()["R_Gamma"]
    assert capsys.readouterr().out.count(r"\\") < 20
    ell, tau_spot, tau = (sympy.Symbol(n, positive=True) for n in ("ell", "tau_spot", "tau"))
    assert isinstance(found, sympy.Piecewise)
    assert len(found.args) == 6
    lag = next(x for x in found.free_symbols if str(x) == "tau")
    lags = np.linspace(0.0, 1.05 * sum((times[0], 2 * times[1])), 41)
    values = [found.subs({ell: times[0], tau_spot: times[1], lag: x}) for x in lags]
    np.testing.assert_allclose(np.array(values, float), envelope.R_Gamma(lags), atol=1e-12)
    # one of the equations of the papers, as it stands there
    if times[0] > times[1]:
        s = sympy.Abs(lag)
        expected = ell + 2 * tau_spot / 5 - 4 * s**2 / (3 * tau_spot) + 2 * s**3 / (3 * tau_spot**2)
        expected -= s**5 / (15 * tau_spot**4)
        assert sympy.simplify((found.args[0].args[0] - expected).subs(lag, tau)) == 0


def test_names_of_the_papers():
    names = [symbol_name(name) for name in ("lspot", "lspot2", "tau_spot1", "t_gap12", "tau_em")]
    assert names == ["ell", "ell_2", "tau_spot_1", "t_gap_12", "tau_em"]


def speed_at(visibility, phi):
    return np.cos(phi) * visibility.omega0(phi) * visibility.peq / (2.0 * np.pi)


@pytest.mark.parametrize("name", list(CHANNELS))
def test_weights_of_channels(name, capsys):
    channel, own = CHANNELS[name]
    found = channel.get_sympy()
    assert type(channel).__name__ in capsys.readouterr().out
    visibility = spotgp.VisibilityFunction(peq=5.0, kappa=0.2, inc=1.1)
    phi, theta = 0.3, np.linspace(-0.8, 0.9, 5)
    a0, a1 = visibility.foreshortening(phi)
    weight = found["w"].subs("v", found["v"]) if "v" in found else found["w"]
    weight = weight.subs("mu", found["mu"])
    known = {"phi": phi, "kappa": 0.2, "i": 1.1, **own}
    law = channel.limb or spotgp.UniformDisk()
    value = lambda mu: sum(float(b) * mu**k for k, b in enumerate(law.polynomial()))  # noqa: E731
    weight = weight.replace(sympy.Function("V"), lambda mu: mu * (value(mu) / mu))
    symbols = {s.name: s for s in weight.free_symbols}
    weight = weight.subs({symbols[k]: v for k, v in known.items() if k in symbols})
    computed = weight_of(channel.weight(visibility), a0, a1, speed_at(visibility, phi))
    expected = sum(
        float(a) * np.cos(k * theta) + float(b) * np.sin(k * theta)
        for k, (a, b) in enumerate(zip(*computed, strict=True))
    )
    (angle,) = weight.free_symbols
    found = [float(weight.subs(angle, x)) for x in theta]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_covariances_of_channels(capsys):
    star = spotgp.SpotEvolutionModel(
        spotgp.ExponentialEnvelope(4.0), spotgp.VisibilityFunction(5.0, 0.1, 1.0), 0.01
    )
    channels = {"flux": spotgp.FluxBand(), "rv": spotgp.RadialVelocity(2000.0)}
    found = spotgp.ChannelKernel(star, channels).get_sympy()
    assert {"flux", "rv", "k"} <= set(found)
    out = capsys.readouterr().out
    assert "ChannelKernel" in out
    assert "R_{\\Gamma}" in out


def test_equations_of_populations(capsys):
    spots = spotgp.Population(spotgp.ExponentialEnvelope(4.0), 0.01)
    star = spotgp.SpottedStar(spotgp.VisibilityFunction(5.0, 0.1, 1.0), {"a": spots, "b": spots})
    found = star.get_sympy()
    assert {"a_0", "a", "b", "k"} <= set(found)
    assert found["a"]["Gamma_hat"] == found["b"]["Gamma_hat"]
    assert len(found["k"].args) == 2
    # those of channels are sums over populations, too
    both = spotgp.ChannelKernel(star, {"flux": spotgp.FluxBand()}).get_sympy()["k"]
    assert {str(x) for x in both.free_symbols} == {"sigma_a", "sigma_b", "tau"}
    assert "SpottedStar" in capsys.readouterr().out
