"""Exact solvers: the whole covariance, or a band of it, in tiles."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..kernel.covariance import Tables
from .base import (
    AbstractSolver,
    Conditional,
    finite_or_minus_infinity,
    variances,
)
from .block import factorize, fold_inverse, forward_solve, log_likelihood
from .layout import Layout, bandwidth, cost, fastest
from .limits import largest_lag, tables_of
from .points import Points, points_of, rounded_up


class AbstractTiles(AbstractSolver):
    """What the exact solvers have in common: they differ in their tiles alone.

    Parameters
    ----------
    points, tables
        Data, and what makes the kernel's tables.
    layout
        Tiles, points in each, and the number of tiles that one is correlated with.
    """

    points: eqx.AbstractVar[Points]
    tables: eqx.AbstractVar[Tables]
    layout: eqx.AbstractVar[Layout]

    def _blocks(self, process):
        return self.points.tiles(process, self.layout.size)

    def _factor(self, process):
        covariance = self.tables.covariance(process, self.points.span)
        return factorize(covariance, self._blocks(process), self.layout.band)

    def log_likelihood(self, process):
        covariance = self.tables.covariance(process, self.points.span)
        value = log_likelihood(covariance, self._blocks(process), self.layout.band)
        return finite_or_minus_infinity(value, self.covered(process))

    def information(self, process):
        return self._factor(process).information

    def condition(self, process, times, parts=None, full=False):
        factor, blocks = self._factor(process), self._blocks(process)
        covariance = self.tables.covariance(process, self.points.reach(times), parts)
        one = jax.vmap(lambda t, real: covariance.block(t, times) * real[:, None])
        cross = one(blocks.place, blocks.real)
        solved = forward_solve(factor.panels, cross).reshape(-1, cross.shape[-1])
        through = jnp.einsum("bsm,bsc->mc", cross, factor.inverse)
        if full:
            variance = covariance.block(times, times) - solved.T @ solved
        else:
            variance = variances(covariance, times) - jnp.sum(solved**2, axis=0)
        return Conditional(through, variance, factor.information)

    def leave_one_out(self, process):
        factor, blocks = self._factor(process), self._blocks(process)
        size = blocks.real.shape[1]

        def visit(j, selected, diagonal):
            return diagonal.at[j].set(jnp.diagonal(selected[:size]))

        start = jnp.ones_like(blocks.real)
        diagonal = fold_inverse(factor.panels, blocks, self.layout.band, visit, start)
        flat = factor.inverse[..., 1:].reshape(start.size, -1)
        projected = factor.information.solve(flat.T)
        diagonal = diagonal.ravel() - jnp.sum(flat * projected.T, axis=1)
        number = self.points.time.size
        diagonal = jnp.where(self.covered(process), diagonal, jnp.nan)
        weights = factor.inverse[..., 0].ravel() - flat @ factor.information.amplitudes()
        return weights[:number], diagonal[:number]

    @property
    def length(self):
        return self.points.time.size


class Dense(AbstractTiles):
    """The whole covariance matrix: exact for every process; its cost grows as the cube of N."""

    name: ClassVar[str] = "dense"
    points: Points
    tables: Tables

    @property
    def layout(self):
        return Layout(1, self.points.time.size, 0)

    @classmethod
    def prepare(cls, data, process, priors, tolerance):
        return cls(points_of(data), tables_of(data, process, priors, tolerance))

    @classmethod
    def cost(cls, data, process, priors, tolerance):
        return cost(Layout(1, data.time.size, 0))

    @classmethod
    def shared(cls, solvers, least=0):
        size = max(least, *(solver.points.time.size for solver in solvers))
        columns = max(solver.points.columns.shape[1] for solver in solvers)
        return [cls(one.points.widened(size, columns), one.tables) for one in solvers]

    def __repr__(self):
        return "dense"


def _band(data, reach: float) -> Layout | None:
    """The fastest tiles for a kernel that reaches some days; None where a band saves nothing."""
    if not reach < data.span:
        return None
    width = rounded_up(bandwidth(np.asarray(data.time, float), reach))
    layout = fastest(rounded_up(data.time.size), width, dense=False)
    return None if layout.tiles == 1 else layout


class Banded(AbstractTiles):
    """A band of the covariance matrix: exact where spots live for a part of the light curve.

    Parameters
    ----------
    points, tables
        Data, and what makes the kernel's tables.
    reach
        Largest lag with a covariance that the band holds, days.
    layout
        Tiles, points in each, and the number of tiles that one is correlated with.
    """

    name: ClassVar[str] = "banded"
    points: Points
    tables: Tables
    reach: Float[Array, ""]
    layout: Layout = eqx.field(static=True)

    @classmethod
    def prepare(cls, data, process, priors, tolerance):
        reach = largest_lag(data, process, priors)
        layout = _band(data, reach)
        if layout is None:
            raise ValueError(
                "solver = 'banded' saves nothing: with these priors the kernel reaches "
                f"{reach:.3g} days of the {data.span:.3g} observed. Give the envelope's time "
                "scales priors with lower upper ends, or use solver='dense'."
            )
        return cls(
            points=points_of(data, layout.tiles * layout.size),
            tables=tables_of(data, process, priors, tolerance),
            reach=jnp.asarray(reach, data.time.dtype),
            layout=layout,
        )

    @classmethod
    def cost(cls, data, process, priors, tolerance):
        layout = _band(data, largest_lag(data, process, priors))
        return math.inf if layout is None else cost(layout)

    @classmethod
    def shared(cls, solvers, least=0):
        own = [np.asarray(one.points.time)[np.asarray(one.points.real) > 0] for one in solvers]
        widths = [bandwidth(time, float(one.reach)) for time, one in zip(own, solvers, strict=True)]
        longest = max(least, *(one.points.time.size for one in solvers))
        layout = fastest(longest, max(widths), dense=False)
        columns = max(solver.points.columns.shape[1] for solver in solvers)
        length = layout.tiles * layout.size
        return [
            cls(one.points.widened(length, columns), one.tables, one.reach, layout)
            for one in solvers
        ]

    def covered(self, process):
        return jnp.minimum(process.support(), self.points.span) <= self.reach

    def explain(self, process):
        support = float(process.support())
        if min(support, float(self.points.span)) <= float(self.reach):
            return None
        return (
            f"The kernel's support of {support:.4g} days is longer than the "
            f"{float(self.reach):.4g} that the priors allowed and the banded solver was made for. "
            "Give the envelope's time scales wider priors."
        )

    def __repr__(self):
        tiles, size, band = self.layout
        return f"band of {band} in {tiles} tiles of {size}"
