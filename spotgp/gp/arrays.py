"""Arrays of the default precision, and a word where that is not enough."""

import warnings

import jax.numpy as jnp
import numpy as np

from pytreefit.extend import as_data

_warned_of_float32 = False


def as_times(t) -> np.ndarray:
    """Times in days on the host, in double precision."""
    return as_data("t", t, "d", ndim=1)


def warn_of_float32():
    """Say once that single precision is not enough for a Gaussian process."""
    global _warned_of_float32
    if jnp.result_type(float) != np.float64 and not _warned_of_float32:
        _warned_of_float32 = True
        warnings.warn(
            "A Gaussian process in single precision loses digits where the signal is far above the "
            "noise. Switch to double precision first thing in your script: "
            "jax.config.update('jax_enable_x64', True).",
            stacklevel=3,
        )
