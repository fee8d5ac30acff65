"""Printed equations, and that they are the ones that are computed."""

import subprocess
import sys
import types

import numpy as np
import pytest
import sympy

from spotgp.kernel.symbolic import show

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
    values = dict(envelope.param_dict)
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
