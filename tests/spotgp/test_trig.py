import jax
import jax.numpy as jnp
import numpy as np

from spotgp.kernel.trig import cos_sin, reduced


def test_cosine_and_sine_are_those_of_numpy():
    angle = np.concatenate([np.linspace(-7.0, 7.0, 2001), np.linspace(-1e4, 1e4, 5001)])
    cos, sin = cos_sin(jnp.asarray(angle))
    np.testing.assert_allclose(cos, np.cos(angle), rtol=0, atol=2e-15)
    np.testing.assert_allclose(sin, np.sin(angle), rtol=0, atol=2e-15)
    np.testing.assert_allclose(np.cos(reduced(jnp.asarray(angle))), np.cos(angle), atol=2e-15)
    assert float(jnp.max(jnp.abs(reduced(jnp.asarray(angle))))) <= np.pi * (1 + 1e-15)


def test_single_precision_keeps_its_digits():
    angle = np.linspace(-400.0, 400.0, 4001).astype(np.float32)
    cos, sin = cos_sin(jnp.asarray(angle))
    assert cos.dtype == sin.dtype == jnp.float32
    np.testing.assert_allclose(cos, np.cos(angle.astype(float)), rtol=0, atol=1e-6)
    np.testing.assert_allclose(sin, np.sin(angle.astype(float)), rtol=0, atol=1e-6)


def test_derivatives_to_the_second_order():
    def both(x):
        cos, sin = cos_sin(x)
        return cos + 2.0 * sin

    for x in (-3.0, 0.0, 1.3, 30.0):
        assert np.isclose(jax.grad(both)(x), -np.sin(x) + 2.0 * np.cos(x), atol=1e-14)
        assert np.isclose(jax.hessian(both)(x), -np.cos(x) - 2.0 * np.sin(x), atol=1e-14)


def test_what_is_not_a_number_stays_so():
    for value in (np.nan, np.inf):
        assert all(np.isnan(part) for part in cos_sin(jnp.asarray(value)))
