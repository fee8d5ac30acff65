"""Every public name has its place in the documentation."""

import importlib
import inspect
import pathlib
import re
import types

import pytest

API = pathlib.Path(__file__).parents[1] / "docs" / "api"


@pytest.mark.parametrize(
    "package", ["pytreefit", "pytreefit.survey", "grater", "spotgp", "spotgp.solvers"]
)
def test_every_public_name_is_documented(package):
    documented = re.findall(
        r"auto(?:class|function|data):: (\w+)",
        (API / f"{package.rpartition('.')[2]}.md").read_text(),
    )
    public = {
        name
        for name, value in vars(importlib.import_module(package)).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert sorted(documented) == sorted(public)


@pytest.mark.parametrize("package", ["grater", "spotgp", "pytreefit"])
def test_methods_of_bases_without_a_page_are_documented(package):
    page = (API / f"{package}.md").read_text()
    own = vars(importlib.import_module(package))
    classes = re.findall(r"autoclass:: (\w+)\n((?:   :.*\n)*)", page)
    documented = {own[name] for name, _ in classes}
    for name, options in classes:
        if ":inherited-members:" in options:
            continue
        cls = own[name]
        here = [base for base in cls.__mro__ if base in documented]
        ours = [b for b in cls.__mro__ if b.__module__.split(".")[0] in ("grater", "spotgp")]
        for base in ours:
            for method, value in vars(base).items():
                if method.startswith("_") or not inspect.isfunction(value):
                    continue
                known = any(method in vars(one) for one in here) or method in options
                assert known, f"{name}.{method} of {base.__name__}"


@pytest.mark.parametrize("page", sorted((API.parent / "theory").glob("*.md")), ids=lambda p: p.stem)
def test_files_that_a_theory_page_names_exist(page):
    root, folder = API.parents[1], None
    named = re.findall(r"`((?:\w+/)*\w+(?:\.py|/))`", page.read_text())
    assert named
    for name in named:
        path = root / name if "/" in name else folder / name
        assert path.exists(), name
        folder = path.parent
