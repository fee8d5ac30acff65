import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytreefit import Model, grid, map_models, param, vary


class Line(Model):
    slope: jax.Array = param(unit="deg", bounds="[0, 90]")
    terms: jax.Array = param(shape=None)
    x: jax.Array
    name: str
    activation: object

    def evaluate(self):
        return self.activation(self.slope * self.x) + jnp.sum(self.terms)


def evaluate(line):
    return line.evaluate()


@pytest.fixture
def line():
    return Line(2.0, [0.5, 0.25], jnp.arange(3.0), "line", jnp.sqrt)


def test_vary_puts_an_axis_on_every_array(line):
    lines = vary(line, {"slope": [1, 2, 3, 4]})
    assert [leaf.shape for leaf in jax.tree.leaves(eqx.filter(lines, eqx.is_array))] == [
        (4,),
        (4, 2),
        (4, 3),
    ]
    assert lines.name == "line"
    assert lines.activation is jnp.sqrt


def test_vary_equals_a_loop_over_set(line):
    slopes, terms = np.array([1.0, 2.0, 3.0]), np.arange(6.0).reshape(3, 2)
    batched = eqx.filter_vmap(evaluate)(vary(line, {"slope": slopes, "terms": terms}))
    single = [
        line.set({"slope": s, "terms": t}).evaluate() for s, t in zip(slopes, terms, strict=True)
    ]
    np.testing.assert_allclose(batched, np.stack(single))


def test_vary_converts_units(line):
    lines = vary(line, {"slope": [0.5, 1.0] * u.rad})
    np.testing.assert_allclose(lines.slope, np.rad2deg([0.5, 1.0]))


def test_vary_in_single_precision(line):
    with jax.enable_x64(False):
        lines = vary(line, {"slope": np.arange(3.0)})
        assert lines.slope.dtype == jnp.float32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"slope": [1, 2], "terms": np.ones((3, 2))}, r"same number of values.*pytreefit.grid"),
        ({}, "at least one"),
        ({"slope": []}, "at least one"),
        ({"slope": [1, 2, 91]}, r"slope\[2\] = 91 deg is outside \[0, 90\] deg"),
        ({"slope": 1.0}, r"'slope' needs a list of values to vary over, got the number 1.0"),
        ({"terms": [1.0, 2.0]}, r"terms has shape \(\) but must be one-dimensional"),
        ({"slpe": [1.0]}, "did you mean 'slope'"),
        ({"x": [1.0]}, "'x' is a ArrayImpl, not a parameter"),
    ],
)
def test_vary_refuses(line, values, message):
    with pytest.raises(ValueError, match=message):
        vary(line, values)


def test_vary_names_the_field_of_a_wrong_unit(line):
    with pytest.raises(TypeError, match=r"Line.slope = .* cannot be converted to unit 'deg'"):
        vary(line, {"slope": [1, 2] * u.s})


def test_grid_is_the_product_with_the_last_path_fastest(line):
    lines = grid(line, {"slope": [1, 2], "terms": np.arange(6.0).reshape(3, 2)})
    np.testing.assert_array_equal(lines.slope, [1, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(lines.terms[:, 1], [1, 3, 5, 1, 3, 5])
    assert lines.x.shape == (6, 3)


def test_grid_refuses_an_empty_axis(line):
    with pytest.raises(ValueError, match=r"at least one"):
        grid(line, {"slope": []})


@pytest.mark.parametrize("batch_size", [None, 1, 2, 5, 8])
def test_map_models_equals_vmap(line, batch_size):
    lines = vary(line, {"slope": [1, 2, 3, 4, 5]})
    expected = eqx.filter_vmap(evaluate)(lines)
    np.testing.assert_allclose(map_models(evaluate, lines, batch_size=batch_size), expected)


def test_map_models_compiles_once_for_a_shape(line):
    traces = []

    def f(line):
        traces.append(1)
        return line.slope

    map_models(f, vary(line, {"slope": [1, 2, 3, 4]}))
    count = len(traces)
    map_models(f, vary(line, {"slope": [5, 6, 7, 8]}))
    assert len(traces) == count


def test_map_models_refuses_what_is_no_batch(line):
    with pytest.raises(ValueError, match=r"one leading batch axis .* pytreefit.vary"):
        map_models(evaluate, line)
    with pytest.raises(ValueError, match=r"batch_size = 0 must be a whole number >= 1"):
        map_models(evaluate, vary(line, {"slope": [1]}), batch_size=0)
