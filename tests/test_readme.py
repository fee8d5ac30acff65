"""The README's quickstart runs as it stands."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

README = pathlib.Path(__file__).parents[1] / "README.md"

# how far the truth is from the mean of the draws, in standard deviations
CHECK = """
import json
print(json.dumps({
    path: float(
        abs(draws.draws[path].mean() - truth.get(path.partition(".")[2])) / draws.draws[path].std()
    )
    for path in draws.draws
}))
"""


@pytest.mark.parametrize("which", [0, 1], ids=["disk", "light curve"])
def test_quickstart_finds_what_it_simulated(which, tmp_path):
    # in a process of its own, compiled as for a user
    code = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)[which]
    script = tmp_path / "quickstart.py"
    script.write_text(code + CHECK)
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    *table, distances = run.stdout.splitlines()
    for path, off in json.loads(distances).items():
        assert any(path in line for line in table)
        assert off < 4, f"{path} is {off:.1f} standard deviations off"


def test_first_screen_names_the_two_commands():
    first_screen = "\n".join(README.read_text().splitlines()[:20])
    assert "make demo" in first_screen
    assert "make test" in first_screen
