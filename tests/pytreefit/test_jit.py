"""Compiled functions: the same results wherever they are called, compiled once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytreefit import Model, Posterior, _xla, jit, param


class Line(Model):
    slope: jax.Array = param()
    name: str = "line"


def test_same_results_within_transformations_of_jax():
    @jit
    def square(x):
        return x**2

    x = jnp.arange(3.0)
    np.testing.assert_array_equal(square(x), x**2)
    np.testing.assert_array_equal(jax.jit(square)(x), x**2)
    np.testing.assert_array_equal(jax.vmap(square)(x), x**2)
    np.testing.assert_array_equal(jax.vmap(jax.grad(square))(x), 2 * x)
    np.testing.assert_array_equal(jax.lax.map(square, x), x**2)
    assert jax.eval_shape(square, x).shape == (3,)


def test_one_jitted_function_in_another():
    inner = jit(lambda x: 2 * x)
    outer = jit(lambda x: inner(x) + 1)
    assert float(outer(1.0)) == 3.0


def test_compiled_once_for_all_values():
    traced = []

    @jit
    def double(line, *, times):
        traced.append(line.name)
        return times * line.slope

    assert float(double(Line(1.0), times=2)) == 2.0
    assert float(double(Line(5.0), times=2)) == 10.0
    assert traced == ["line"]
    double(Line(1.0, name="other"), times=2)
    assert traced == ["line", "other"]


def test_what_is_no_array_comes_back_as_it_is():
    @jit
    def with_name(line):
        return 2.0 * line.slope, "slope", 3

    for slope in (1.0, 4.0):
        value, name, number = with_name(Line(slope, name=None))
        assert (float(value), name, number) == (2.0 * slope, "slope", 3)
        assert isinstance(number, int)
    # arguments that are arrays alone, and a result that is none
    assert jit(lambda x: (x.shape, x))(jnp.ones(2))[0] == (2,)


def test_numbers_stay_static():
    """As in equinox.filter_jit: what is no array is part of the program."""
    assert jit(lambda x, n: x * jnp.ones(n))(jnp.asarray(2.0), 3).shape == (3,)


def test_on_one_core():
    assert float(jit(lambda x: x + 1, threads=False)(1.0)) == 2.0


class Plain(Model):
    slope: jax.Array = param()


class Quick(Plain):
    compiles_quickly = True


@pytest.mark.parametrize("with_a_number", [False, True])
def test_a_model_that_asks_for_it_is_compiled_quickly(monkeypatch, with_a_number):
    """By another option of the compiler, here one that it does not know."""
    monkeypatch.setattr(
        _xla, "compiler_options", lambda threads, quickly: {"no_option": True} if quickly else None
    )

    def log_likelihood(model, number=1.0):
        return -number * model.slope**2

    rest = (2.0,) if with_a_number else ()
    assert float(jit(log_likelihood)(Plain(2.0), *rest)) == -4.0 * (rest or (1.0,))[0]
    posterior = Posterior(Quick(2.0), log_likelihood, {"slope": (0, 3)})
    for asks, function in (
        (Quick(2.0), log_likelihood),
        (posterior, lambda posterior, *_: posterior.log_density_physical(jnp.zeros(1))),
    ):
        with pytest.raises(Exception, match="no_option"):
            jit(function)(asks, *rest)
