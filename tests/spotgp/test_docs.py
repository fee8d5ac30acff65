"""The user's own envelope that the documentation shows."""

import pathlib
import re

import numpy as np

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "spots.md"


def test_own_envelope_of_the_page():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (block,) = [block for block in blocks if "class GaussianEnvelope" in block]
    names: dict = {}
    exec(block, names)
    width = 2.0
    lag = np.array([0.0, 1.0, 4.0])
    # of exp(-t^2 / w^2), the area
    expected = width * np.sqrt(np.pi / 2.0) * np.exp(-0.5 * (lag / width) ** 2)
    np.testing.assert_allclose(names["GaussianEnvelope"](width).R_Gamma(lag), expected, rtol=1e-7)
