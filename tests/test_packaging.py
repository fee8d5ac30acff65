"""The version is the same wherever it is written, and types and public names are declared."""

import importlib
import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def version_of_project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.mark.parametrize("package", ["pytreefit", "grater", "spotgp"])
def test_what_a_package_declares(package):
    module = importlib.import_module(package)
    assert module.__version__ == version_of_project()
    assert all(hasattr(module, name) for name in module.__all__)
    assert (ROOT / package / "py.typed").exists()


def test_one_version():
    version = version_of_project()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == version
