"""The examples refuse arguments before they read, compile and fit for minutes."""

import pathlib
import runpy
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "fit_gpi_disk.py"


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


def test_a_folder_without_the_exposures(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    script = EXAMPLES / "fit_jwst_disk.py"
    output = ["--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "none"), *output])
    with pytest.raises(SystemExit):
        runpy.run_path(str(script))
    assert "holds 0 files jw01184001001_*_calints.fits*, not one" in capsys.readouterr().err
