"""Where fits start: from other fits, of the same parameters and of others."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import biject_to

from pytreefit import Model, Posterior, fit, param
from pytreefit.optimize.start import start_coordinates
from pytreefit.prior import strictly_inside


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


@pytest.mark.parametrize(
    "prior",
    [
        dist.LogUniform(0.059594, 4.46955),
        dist.Uniform(-1.0, 1.0),
        dist.LogNormal(0.0, 1.0),
        dist.TruncatedNormal(0.0, 1.0, low=0.0),
    ],
)
@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_what_rounding_puts_on_an_end_is_a_start_again(prior, side, dtype):
    prior = jax.tree.map(lambda x: jnp.asarray(x, dtype), prior)
    transform = biject_to(prior.support)
    value = strictly_inside(transform(jnp.asarray(300.0 * side, dtype)), prior)
    if np.isfinite(value):  # but for an end that is none
        assert np.isfinite(transform.inv(value))
        assert bool(prior.support(value))
    middle = transform(jnp.asarray(0.3, dtype))
    assert strictly_inside(middle, prior) == middle


def test_a_fit_that_ends_at_an_edge_can_be_a_start():
    class Slope(Model):
        x: jax.Array = param(default=1.0)

    def log_likelihood(model):
        return -1e6 * model.x

    priors = {"x": dist.LogUniform(0.059594, 4.46955)}
    with jax.enable_x64(False):
        best = fit(Posterior(Slope(), log_likelihood, priors), progress=False)
        again = fit(Posterior(best.model, log_likelihood, priors), start=best, progress=False)
    assert again.at_edge == best.at_edge == ("x",)
    assert float(again.values["x"]) == pytest.approx(0.059594, rel=1e-5)
