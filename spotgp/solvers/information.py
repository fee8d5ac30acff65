"""What the data say of the free columns of the mean, and the likelihood without these."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Information(NamedTuple):
    """What the data say of the free columns' amplitudes."""

    normal: Float[Array, "c c"]  # H^T K^-1 H; 0 everywhere in columns that fill up
    moment: Float[Array, "c"]  # H^T K^-1 r

    @classmethod
    def of(cls, products) -> "Information":
        """From the products of residuals and columns through the inverse, shape (1+c, 1+c)."""
        return cls(products[1:, 1:], products[1:, 0])

    def unused(self) -> Float[Array, "c"]:
        """1 for columns that are 0 everywhere, 0 for the others."""
        normal = jax.lax.stop_gradient(self.normal)
        return jnp.all(normal == 0.0, axis=0).astype(normal.dtype)

    def invertible(self) -> Float[Array, "c c"]:
        """The normal matrix, in which unused columns have 1 on the diagonal."""
        return self.normal + jnp.diag(self.unused())

    def solve(self, right: Float[Array, "c m"]) -> Float[Array, "c m"]:
        """The inverse of the normal matrix times columns; where unused they stay as they are."""
        return jnp.linalg.solve(self.invertible(), right) if self.moment.size else right

    def amplitudes(self) -> Float[Array, "c"]:
        """The best ones."""
        return self.solve(self.moment[:, None])[:, 0]


def marginal(products, log_determinant, number) -> Float[Array, ""]:
    """Log-likelihood with the free columns integrated out under a flat prior.

    Parameters
    ----------
    products
        R^T K^-1 R of the residual and the columns R, shape (1+c, 1+c).
    log_determinant
        Of the covariance K.
    number
        Of points.
    """
    found = Information.of(products)
    total = products[0, 0] + log_determinant
    dof = number - jnp.sum(1.0 - found.unused())
    if found.moment.size:
        total = total - found.moment @ found.amplitudes()
        total = total + jnp.linalg.slogdet(found.invertible())[1]
    return -0.5 * (total + dof * math.log(2.0 * math.pi))
