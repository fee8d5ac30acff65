"""Where fits start: from other fits, of the same parameters and of others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytreefit import Model, Posterior, fit, param
from pytreefit.optimize.start import start_coordinates


class Point(Model):
    x: jax.Array = param()
    y: jax.Array = param()


def posterior(priors, x=0.0, y=0.0):
    return Posterior(Point(x, y), lambda p: -(((p.x - 1.0) / 0.1) ** 2) - (p.y - 1.5) ** 2, priors)


def test_a_fit_under_other_priors_is_a_start_at_its_values():
    first = fit(posterior({"x": (-2, 3), "y": (-1, 4)}), progress=False)
    wider = posterior({"x": (-50, 90), "y": (-40, 70)})
    found = wider.constrain(start_coordinates(wider, first))
    assert all(np.allclose(found[name], first.values[name], 1e-9) for name in "xy")
    assert jnp.array_equal(
        start_coordinates(posterior({"x": (-2, 3), "y": (-1, 4)}), first), first.u
    )
    narrow = posterior({"x": (2, 5), "y": (-1, 4)}, x=3.0)
    with pytest.raises(ValueError, match="start of x is not inside its prior"):
        fit(narrow, start=first)


def test_a_fit_of_other_parameters_says_how_its_values_may_be_used():
    both = posterior({"x": (-2, 3), "y": (-1, 4)})
    alone = posterior({"x": (-2, 3)})
    of_both, of_one = (fit(p, progress=False) for p in (both, alone))
    with pytest.raises(ValueError, match=r"result for x, y but .* pass start\.values without y"):
        fit(alone, start=of_both)
    with pytest.raises(ValueError, match=r"pass start=start\.values, .*; y would start at the mod"):
        fit(both, start=of_one)
    # that advice is right
    assert float(both.constrain(start_coordinates(both, of_one.values))["y"]) == pytest.approx(0.0)
    turned = posterior({"y": (-1, 4), "x": (-2, 3)})
    with pytest.raises(ValueError, match=r"pass start=start\.values, a dictionary\.$"):
        fit(turned, start=of_both)
    assert fit(turned, start=of_both.values, progress=False).names == ("y", "x")
