"""Equations for the reader: LaTeX in a terminal, rendered in Jupyter."""

import re
import sys
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"\s*([A-Za-z]\w*)\s*(?:\(([^()]*)\))?\s*")
NUMERICAL = "[numerical]"


def _symbol_latex(name: str) -> str:
    import sympy

    return sympy.latex(sympy.Symbol(name.replace("_hat", "hat")))


def _left_side(name: str) -> tuple[str, str]:
    """The bare name and the LaTeX of a name with arguments, such as ``"Gamma_hat(omega)"``."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(
            f"{name!r} cannot stand left of an equation: write it like 'c_0' or 'R_Gamma(tau)'."
        )
    bare, arguments = match.groups()
    latex = _symbol_latex(bare)
    if arguments is not None:
        inside = ", ".join(_symbol_latex(argument.strip()) for argument in arguments.split(","))
        latex += rf"\left({inside}\right)"
    return bare, latex


def show(class_name: str, equations: Mapping[str, Any]) -> dict[str, Any]:
    r"""Print equations under a heading, or render them where Python is a Jupyter kernel.

    They are SymPy expressions for left sides such as ``"R_Gamma(tau)"``; None, where there is no
    closed form, is printed as "[numerical]". They are returned by bare names such as "R_Gamma".
    ValueError if a left side is no name, with or without arguments in parentheses.

    Examples
    --------
    >>> import sympy
    >>> _ = show("Line", {"y(x)": 2 * sympy.Symbol("x") + 1, "z(x)": None})
    Line
      $ y\left(x\right) = 2 x + 1 $
      $ z\left(x\right) = $ [numerical]
    """
    import sympy

    expressions, lines = {}, []
    for name, expression in equations.items():
        bare, left = _left_side(name)
        expressions[bare] = expression
        lines.append((left, None if expression is None else sympy.latex(expression)))

    if _in_jupyter():
        from IPython.display import Math, display  # pyright: ignore[reportMissingImports]

        display(Math(rf"\textbf{{{class_name}}}"))
        for left, right in lines:
            display(Math(f"{left} = " + (rf"\text{{{NUMERICAL}}}" if right is None else right)))
    else:
        print(class_name)
        for left, right in lines:
            print(f"  $ {left} = $ {NUMERICAL}" if right is None else f"  $ {left} = {right} $")
    return expressions


def symbol_name(parameter: str) -> str:
    """The name of a parameter's symbol, that of the papers: ``lspot1`` is ell_1."""
    match = re.fullmatch(r"(lspot|tau_spot|t_gap)(\d*)", parameter)
    if match is None:
        return parameter
    stem = {"lspot": "ell"}.get(match[1], match[1])
    return f"{stem}_{match[2]}" if match[2] else stem


def symbols(*names: str):
    """The SymPy symbols of time, frequency and lag, and those of the parameters."""
    import sympy as sp

    arguments = tuple(sp.Symbol(name, real=True) for name in ("t", "omega", "tau"))
    return arguments, tuple(sp.Symbol(symbol_name(name), positive=True) for name in names)


def _in_jupyter() -> bool:
    """Whether this runs in a Jupyter kernel, which alone renders equations."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None
