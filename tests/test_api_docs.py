"""Every public name has its place in the documentation."""

import importlib
import pathlib
import re

import pytest

API = pathlib.Path(__file__).parents[1] / "docs" / "api"


@pytest.mark.parametrize("package", ["pytreefit", "grater"])
def test_every_public_name_is_documented(package):
    page = (API / f"{package}.md").read_text()
    documented = set(re.findall(r"auto(?:class|function|data):: (\w+)", page))
    public = set(importlib.import_module(package).__all__) - {"__version__"}
    assert documented == public
