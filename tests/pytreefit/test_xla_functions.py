"""The compiler's favourite forms of functions against the plain ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytreefit import _xla
from pytreefit.extend import arcsinh, arctan, computed_once, fast_log, fused_sum, sinh_cosh

X = np.linspace(-3.0, 3.0, 101)


@pytest.fixture(params=[False, True], ids=["fast", "plain"])
def plain(request, monkeypatch):
    monkeypatch.setenv("PYTREEFIT_PLAIN_XLA", str(int(request.param)))
    _xla.plain.cache_clear()
    yield request.param
    _xla.plain.cache_clear()


def test_hyperbolic_functions(plain):
    sine, cosine = sinh_cosh(jnp.asarray(X))
    np.testing.assert_allclose(sine, np.sinh(X), atol=1e-14)
    np.testing.assert_allclose(cosine, np.cosh(X), rtol=1e-14)
    np.testing.assert_allclose(arcsinh(jnp.asarray(X)), np.arcsinh(X), atol=1e-14)


def test_sums_and_what_is_kept(plain):
    def total(x):
        return computed_once(lambda x: fused_sum([x, x], [x**2, jnp.sin(x)]), x)

    for function in (total, jax.jit(total)):
        squares, sines = function(jnp.asarray(X))
        np.testing.assert_allclose(squares, X + X**2, rtol=1e-14)
        np.testing.assert_allclose(sines, X + np.sin(X), rtol=1e-14, atol=1e-15)
    assert np.all(np.isnan(total(jnp.full(3, jnp.nan))[0]))


def test_logarithm_in_double_precision(plain):
    x = np.concatenate([np.geomspace(1e-300, 1e300, 1001), np.linspace(0.9, 1.1, 1001)])
    np.testing.assert_allclose(fast_log(jnp.asarray(x)), np.log(x), rtol=1e-15)
    edges = fast_log(jnp.array([0.0, -1.0, np.inf, np.nan, 1.0]))
    np.testing.assert_array_equal(edges, [-np.inf, np.nan, np.inf, np.nan, 0.0])
    np.testing.assert_allclose(jax.vmap(jax.grad(fast_log))(jnp.asarray(x)), 1.0 / x)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_arc_tangent_in_wide_vectors(dtype):
    """As users compile: XLA's own is wrong for some of these."""
    x = jnp.concatenate([jnp.linspace(-3.0, 3.0, 4095), jnp.array([jnp.inf])]).astype(dtype)
    as_users = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}
    wide = jax.jit(arctan, compiler_options=as_users | _xla.WIDE_VECTORS)
    np.testing.assert_allclose(wide(x), np.arctan(x), rtol=4 * jnp.finfo(dtype).eps)
    np.testing.assert_allclose(jax.grad(arctan)(x[0]), 1.0 / (1.0 + x[0] ** 2), rtol=1e-6)
    assert jnp.isnan(arctan(jnp.asarray(jnp.nan, dtype)))
