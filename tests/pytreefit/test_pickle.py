"""Posteriors and fits go through pickle, as programs that share work among processes need it."""

import copy
import pickle
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float

from pytreefit import Joint, Model, Posterior, fit, param


class Point(Model):
    x: jax.Array = param(default=0.0)


class Data(eqx.Module):
    """Its methods have annotations that cannot be pickled."""

    value: Float[Array, ""]

    def residuals(self, model: Point) -> Float[Array, "n"]:
        return jnp.ravel(model.x - self.value)

    def log_normalization(self, model: Any) -> Float[Array, "n"]:
        return jnp.zeros(1)

    def log_likelihood(self, model: Any) -> Float[Array, ""]:
        return -0.5 * jnp.sum(self.residuals(model) ** 2)


def through_pickle(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("by", [through_pickle, copy.deepcopy, copy.copy])
def test_a_posterior_comes_back_as_it_was(by):
    data = Data(jnp.asarray(1.5))
    for method in (data.log_likelihood, Joint({"a": data, "b": data}).log_likelihood):
        posterior = Posterior(Point(), method, {"x": (-5, 5)})
        back = by(posterior)
        assert back.names == posterior.names
        assert jax.tree.structure(back) == jax.tree.structure(posterior)
        assert float(back.log_likelihood(Point(1.0))) == float(posterior.log_likelihood(Point(1.0)))
        assert jnp.array_equal(back.residuals(Point(1.0)), posterior.residuals(Point(1.0)))
    best = fit(back, progress=False)
    assert float(by(best).values["x"]) == pytest.approx(1.5, abs=1e-5)
