r"""Covariances of fluxes that are averages over an exposure.

An exposure of length :math:`\delta` averages the light curve, so that two of them have the
covariance

.. math::
    \bar k(\tau) = \int_{-\delta}^{\delta} \frac{\delta - |s|}{\delta^2}\, k(\tau + s)\, ds
    = \int_0^1 (1 - x) \left[ k(\tau + \delta x) + k(\tau - \delta x) \right] dx

which is exact for everything stationary: rotation, spots' growth and further terms. Where spots
change slowly it multiplies the n-th harmonic by
:math:`\mathrm{sinc}^2(n \omega_0 \delta / 2)`, up to :math:`O(\delta^2 / \tau_\mathrm{spot}^2)`.
An amplitude that changes with time is taken at the middles of exposures.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pytreefit.extend import gauss_legendre

from .covariance import AbstractTables, Tables
from .loops import sum_at_rows
from .table import MARGIN, ROW, KernelTable, knots_at, tabulate

_NODES = 8  # on each piece of the average


class ExposureTables(AbstractTables):
    """The tables of a process that is averaged over exposures.

    Parameters
    ----------
    tables
        Those of the process itself.
    exposure
        Length of the exposures, days.
    """

    tables: Tables
    exposure: Float[Array, ""]

    @property
    def error(self):
        """That of the tables of the process itself."""
        return self.tables.error

    @property
    def tolerance(self):
        """That of the tables of the process itself."""
        return self.tables.tolerance

    @property
    def epoch(self):
        """That of the tables of the process itself."""
        return self.tables.epoch

    @property
    def most(self):
        """That of the tables of the process itself."""
        return self.tables.most

    def finer(self):
        return ExposureTables(self.tables.finer(), self.exposure)

    def rough(self):
        return ExposureTables(self.tables.rough(), self.exposure)

    def covariance(self, process, reach, parts=None):
        reach = jnp.asarray(reach, self.error.dtype) + self.exposure
        return self._averages(self.tables.covariance(process, reach, parts), reach)

    def _averages(self, found, reach):
        if isinstance(found, KernelTable):
            return self._averaged(found, reach)
        rest = None if found.rest is None else self._averaged(found.rest, reach)
        table = self._averages(found.table, reach)
        return eqx.tree_at(
            lambda f: (f.table, f.rest), found, (table, rest), is_leaf=lambda x: x is None
        )

    def _averaged(self, table: KernelTable, reach) -> KernelTable:
        rows = knots_at(table.scale, self.most)
        cut = table.cut + self.exposure
        last = jnp.sqrt(jnp.minimum(cut, reach)) * table.scale
        number = jnp.minimum(jnp.ceil((last + MARGIN) / ROW).astype(int), len(rows))
        values = sum_at_rows(_average, (table, self.exposure), 1, number, rows)
        return tabulate(values, table.scale, cut)


def _average(arguments, k):
    """The averaged covariance, a function of lags."""
    del k
    table, exposure = arguments
    node, weight = (jnp.asarray(a, exposure.dtype) for a in gauss_legendre(_NODES))
    node, weight = 0.5 * (1.0 + node)[:, None], 0.5 * weight[:, None]

    def mean(lags):
        lags = lags[None, :]
        # the lag comes to 0 there, where a kernel may have a cusp
        meets = jnp.minimum(lags / exposure, 1.0)
        before, after = meets * node, meets + (1.0 - meets) * node
        total = weight * (1.0 - node) * table(lags + exposure * node)
        total += weight * meets * (1.0 - before) * table(jnp.abs(lags - exposure * before))
        total += weight * (1.0 - meets) * (1.0 - after) * table(jnp.abs(lags - exposure * after))
        return jnp.sum(total, axis=0)

    return mean
