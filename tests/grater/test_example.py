"""The example for GPI refuses arguments before it reads, compiles and fits for minutes."""

import pathlib
import runpy
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "examples" / "fit_gpi_disk.py"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--warmup", "5"], "--warmup: 5 must be at least 20"),
        (["--chains", "0"], "--chains: 0 must be at least 1"),
        (["--acceptance", "1.5"], "--acceptance: 1.5 must be between 0 and 1"),
        (["--inclination", "190"], "--inclination: 190 must be between 1 and 179"),
        (["--knots", "5"], "--knots: 5 must be an even number"),
    ],
)
def test_arguments_are_checked_first(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "no_file.fits", *arguments])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT))
    assert message in capsys.readouterr().err
