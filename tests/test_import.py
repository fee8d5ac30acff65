"""Importing a package configures nothing and opens nothing but code."""

import json
import pathlib
import subprocess
import sys

import pytest

CODE = """
import importlib, json, sys
import jax, matplotlib
from matplotlib import rcParams

settings, style = dict(jax.config.values), dict(rcParams)
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
importlib.import_module(sys.argv[1])
print(json.dumps({
    "settings": [k for k, v in jax.config.values.items() if settings.get(k, v) != v],
    "style": [k for k, v in rcParams.items() if style[k] != v],
    "backends": jax._src.xla_bridge.backends_are_initialized(),
    "opened": opened,
}))
"""
OF_CODE = (".py", ".pyc", ".so", ".pyd", ".zip")


@pytest.mark.parametrize("package", ["pytreefit", "grater", "spotgp"])
def test_importing_leaves_everything_alone(package):
    run = subprocess.run(
        [sys.executable, "-c", CODE, package], check=True, capture_output=True, text=True
    )
    seen = json.loads(run.stdout)
    assert seen["settings"] == []
    assert seen["style"] == []
    assert seen["backends"] is False
    files = [path for path in map(pathlib.Path, seen["opened"]) if path.is_file()]
    assert [
        str(path)
        for path in files
        if path.suffix not in OF_CODE and path.parent.suffix != ".dist-info"
    ] == []
