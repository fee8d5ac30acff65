"""The README's quickstart runs as it stands, and is as short as it says."""

import pathlib
import re

import numpy as np
import pytest

README = pathlib.Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def code():
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    return block


def test_quickstart_is_short(code):
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 20


def test_quickstart_finds_the_disk_it_simulated(code, capsys):
    names = {}
    exec(compile(code, str(README), "exec"), names)
    table = capsys.readouterr().out
    truth, draws = names["truth"], names["draws"]
    for path in names["priors"]:
        assert path in table
        values = np.asarray(draws.draws[path])
        off = abs(values.mean() - float(truth.get(path.removeprefix("disk.")))) / values.std()
        assert off < 4, f"{path} is {off:.1f} standard deviations off"


def test_first_screen_names_the_two_commands():
    first_screen = "\n".join(README.read_text().splitlines()[:20])
    assert "make demo" in first_screen
    assert "make test" in first_screen
