"""What packages of models build on."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import pytreefit.extend
from pytreefit import Model, param
from pytreefit.extend import gauss_legendre, prior_limits, stopped


class Line(Model):
    slope: jax.Array = param()


def test_all_names_are_there():
    assert all(hasattr(pytreefit.extend, name) for name in pytreefit.extend.__all__)


def test_gauss_legendre():
    node, weight = gauss_legendre(5, 0.0, 2.0)
    assert weight @ node**9 == pytest.approx(2.0**10 / 10.0)
    assert not node.flags.writeable
    assert np.sum(gauss_legendre(5)[1]) == pytest.approx(2.0)


def test_stopped():
    def product(line):
        return line.slope * stopped(line).slope

    assert float(jax.grad(product)(Line(3.0)).slope) == 3.0


def test_prior_limits():
    assert prior_limits(dist.Uniform(1.0, 2.0)) == (1.0, 2.0)
    assert prior_limits(dist.HalfNormal(1.0)) == (0.0, np.inf)
    assert prior_limits(dist.Normal(0.0, 1.0)) == (-np.inf, np.inf)
    low = jnp.array([0.0, -1.0])
    assert prior_limits(dist.Uniform(low, 2.0).to_event(1)) == (-1.0, 2.0)
