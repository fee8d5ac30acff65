"""Docstrings of public objects name parameters, units and errors; the main ones have an example."""

import ast
import dataclasses
import enum
import inspect
import re
import textwrap

import pytest

import grater
import pytreefit
import spotgp

PUBLIC = {
    f"{package.__name__}.{name}": getattr(package, name)
    for package in (pytreefit, grater, spotgp)
    for name in package.__all__
}
CALLED = {name: it for name, it in PUBLIC.items() if callable(it)}
# how the text may name a unit
UNITS = {
    "deg": r"deg",
    "rad": r"rad",
    "d": r"\bdays?\b|\bd\b",
    "au": r"\bau\b",
    "pc": r"\bpc\b",
    "arcsec": r"arcsec",
    "pixel": r"pixel",
    "pix": r"pixel",
    "m / s": r"m ?/ ?s",
    "solRad": r"solar radi",
    "K": r"\bK\b",
}
# what a reader meets first
WITH_EXAMPLE = """
    pytreefit.Posterior pytreefit.Model pytreefit.Fit pytreefit.param pytreefit.cite
    grater.Disk grater.Scene grater.Observation grater.Starlight grater.FrameSequence
    spotgp.SpotEvolutionModel spotgp.GPSolver spotgp.AnalyticKernel spotgp.TimeSeriesData
    spotgp.ChannelKernel spotgp.Keplerian
""".split()


def sections(it):
    """The summary, and the text of each section."""
    parts = re.split(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", inspect.getdoc(it) or "", flags=re.MULTILINE)
    return parts[0], dict(zip(parts[1::2], parts[2::2], strict=True))


def documented(text):
    """Names of a section of parameters, each with its text."""
    found = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        head, _, body = entry.partition("\n")
        for name in re.split(r",\s*", head.partition(" :")[0]):
            found[name.strip().lstrip("*")] = head + body
    return found


def parameters(it):
    try:
        signature = inspect.signature(it)
    except ValueError:
        return []
    return [name for name in signature.parameters if not name.startswith("_") and name != "self"]


@pytest.mark.parametrize("name", PUBLIC)
def test_there_is_a_summary(name):
    summary, _ = sections(PUBLIC[name])
    first = summary.split("\n\n")[0]
    assert re.search(r"[.:]$", first.strip()), f"{name}: {first!r}"


@pytest.mark.parametrize("name", CALLED)
def test_parameters_are_documented(name):
    it = CALLED[name]
    if inspect.isabstract(it) or (isinstance(it, type) and issubclass(it, enum.Enum)):
        return
    missing = set(parameters(it)) - set(documented(sections(it)[1].get("Parameters", "")))
    missing.discard("validate_args")  # NumPyro's
    assert not missing, f"{name} says nothing of {sorted(missing)}"


def units_of(it):
    if isinstance(it, type) and dataclasses.is_dataclass(it):
        for field in dataclasses.fields(it):
            info = field.metadata.get(pytreefit.parameter.KEY)
            if info is not None and info.unit in UNITS:
                yield field.name, UNITS[info.unit]


@pytest.mark.parametrize("name", [name for name, it in CALLED.items() if any(units_of(it))])
def test_physical_parameters_have_units(name):
    summary, parts = sections(CALLED[name])
    known = documented(parts.get("Parameters", ""))
    for field, unit in units_of(CALLED[name]):
        text = known.get(field, "") + summary
        other = "as for `" in text  # says it once for all
        assert other or re.search(unit, text, flags=re.IGNORECASE), f"{name}.{field}"


def raised(it):
    """Names of exceptions that the code of a function or of a constructor raises itself."""
    code = [it]
    if isinstance(it, type):
        code = [vars(it).get(name) for name in ("__init__", "__check_init__")]
    for function in filter(None, code):
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                yield ast.unparse(node.exc.func)


@pytest.mark.parametrize("name", CALLED)
def test_errors_are_documented(name):
    try:
        errors = set(raised(CALLED[name]))
    except (OSError, TypeError):
        return
    text = sections(CALLED[name])[1].get("Raises", "")
    missing = {e for e in errors - {"NotImplementedError"} if e not in text}
    assert not missing, f"{name} raises {sorted(missing)}"


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_main_objects_have_an_example(name):
    assert ">>>" in inspect.getdoc(PUBLIC[name])
