r"""Score tests: what a light curve gains, to first order, if the model is changed a little.

The log-likelihood's derivative in the direction :math:`dK` of the covariance is

.. math::
    u = \tfrac12 \left( w^T dK\, w - \mathrm{tr}(P\, dK) \right), \qquad w = P (y - m)

with the mean 0 and the covariances :math:`F_{jk} = \tfrac12 \mathrm{tr}(P\, dK_j P\, dK_k)` under
the model. Less what the free parameters can take up,

.. math::
    z_j = \frac{u_j - F_{j\theta} F_{\theta\theta}^{-1} u_\theta}
        {(F_{jj} - F_{j\theta} F_{\theta\theta}^{-1} F_{\theta j})^{1/2}}

is to first order the same wherever the parameters are near their best values, and
:math:`z_j^2 / 2` what a fit along this direction would gain in log-likelihood.

Rao (1948, doi:10.1017/S0305004100023987).
"""

from typing import NamedTuple

import numpy as np

from .gaussian import Projection

_LEAST = 1e-3  # share of a direction's information that must be its own
_FLAT = 1e-10  # eigenvalues of the information below it are called zero


def information(projection: Projection, mean, covariance) -> np.ndarray:
    r"""Expected information of directions, a matrix of shape (d, d).

    .. math:: F_{jk} = \tfrac12 \mathrm{tr}(P\, dK_j P\, dK_k) + dm_j^T P\, dm_k

    Directions are changes of the mean, shape (d, n), and of the covariance, (d, n, n).
    """
    through = np.stack([projection.matrix @ one for one in covariance])
    flat = through.reshape(len(through), -1)
    turned = through.transpose(0, 2, 1).reshape(len(through), -1)
    return 0.5 * flat @ turned.T + mean @ projection.matrix @ mean.T


def scores(projection: Projection, mean, covariance, flux) -> np.ndarray:
    """The derivatives of the log-likelihood of light curves (k, n) in d directions, (k, d)."""
    weights = projection.weights(flux)
    squares = [np.sum((weights @ one) * weights, axis=1) for one in covariance]
    expected = [np.sum(projection.matrix * one) for one in covariance]
    return 0.5 * (np.stack(squares, axis=1) - np.array(expected)) + weights @ mean.T


class Directions(NamedTuple):
    """Changes of the covariance, with the free parameters' own to be projected out."""

    mean: np.ndarray  # of the free parameters, (p, n)
    own: np.ndarray  # (p, n, n)
    others: np.ndarray  # (j, n, n)

    def standardised(self, projection: Projection, flux: np.ndarray) -> np.ndarray:
        """Z of each light curve (k, n) in each direction, (k, j); 0 for what is none of its own."""
        own = len(self.own)
        mean = np.concatenate([self.mean, np.zeros((len(self.others), flux.shape[1]))])
        both = np.concatenate([self.own, self.others])
        fisher = information(projection, mean, both)
        found = scores(projection, mean, both, flux)
        width = np.sqrt(np.maximum(np.diag(fisher), np.finfo(float).tiny))
        fisher, found = fisher / width / width[:, None], found / width
        inverse = np.linalg.pinv(fisher[:own, :own], rcond=_FLAT, hermitian=True)
        onto = fisher[own:, :own] @ inverse
        left = np.diag(fisher)[own:] - np.sum(onto * fisher[own:, :own], axis=1)
        z = (found[:, own:] - found[:, :own] @ onto.T) / np.sqrt(np.maximum(left, _LEAST))
        return np.where(left > _LEAST, z, 0.0)
