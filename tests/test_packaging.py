"""The version is the same wherever it is written."""

import pathlib
import re
import tomllib

import grater
import pytreefit
import spotgp

ROOT = pathlib.Path(__file__).parents[1]


def test_packages_are_typed():
    for package in (pytreefit, grater, spotgp):
        assert (pathlib.Path(package.__file__).parent / "py.typed").exists()


def test_one_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert pytreefit.__version__ == grater.__version__ == spotgp.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == version
