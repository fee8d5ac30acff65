"""Room for libraries that mix dtypes or ranks, when the user forbids that in their own code."""

import contextlib
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def lenient() -> Iterator[None]:
    """Within it, JAX promotes dtypes and ranks as by default, whatever the user has configured."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
