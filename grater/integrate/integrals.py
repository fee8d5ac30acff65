r"""The line-of-sight integral of a disk's scattered light, as a pure function.

.. math::
    I(x, y) = \int \rho(q)\, f(z, q)\, \frac{p(\cos\theta)}{d^2}\, dl, \qquad
    \cos\theta = l / d

with :math:`l` positive towards the observer and :math:`d` the distance from the star. Derivatives
are taken through the integrand at fixed nodes: those of an integral do not depend on where it is
sampled, as long as it is sampled well.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp

from .derivatives import (
    Moving,
    chain_rule,
    number_of_numbers,
    sums_with_derivatives,
    through_a_scan,
)
from .dust import Dust, Integrand
from .geometry import Geometry
from .nodes import Plan
from .rule import Rule
from .sweep import spare_lines, sum_over_nodes

# components with more numbers than this are differentiated in reverse mode
_MOST_DIRECTIONS = 48


def line_of_sight_integrals(
    disks: Sequence[tuple[Geometry, Dust]], x_sky, y_sky, rule: Rule
) -> list:
    r"""Scattered light of each of some disks at points on the sky.

    Disks of the same kinds of components, of which the same parameters are differentiated, are one
    program.

    Parameters
    ----------
    disks
        Where each is and what it is made of.
    x_sky, y_sky
        Offsets from the star in au to the West and to the North, any shape, never both 0.

    Returns
    -------
    list of array
        :math:`\int \rho f p / d^2\, dl` in 1 / au, shape (phase functions, *x_sky).
    """
    shape, size = jnp.shape(x_sky), jnp.size(x_sky)
    spare = spare_lines(size)
    x_sky, y_sky = (jnp.pad(jnp.ravel(v), (0, spare), "edge") for v in (x_sky, y_sky))
    integrands = [Integrand.of(*disk, x_sky, y_sky) for disk in disks]
    found = _integrals(integrands, rule=rule)
    return [jnp.stack([image[:size].reshape(shape) for image in images]) for images in found]


def integration_error(geometry: Geometry, dust: Dust, x_sky, y_sky, rule: Rule):
    """Error of one disk's integrals relative to the largest, as found on some lines, shape ()."""
    return Plan(Integrand.of(geometry, dust, x_sky, y_sky), _fixed(dust.vertical), rule).error


def _fixed(component):
    return jax.tree.map(lambda _: None, component)


@eqx.filter_custom_jvp
def _integrals(integrands, *, rule):
    def integral(integrand: Integrand):
        tilt, dust = integrand.geometry.tilt, integrand.dust

        def sample(dust, x, y, l, weight, sums):
            lights = integrand._replace(dust=dust).brightness(tilt, x, y, l)
            return [total + weight * light for total, light in zip(sums, lights, strict=True)]

        count = dust.number_of_phases(integrand.x)
        images, enough = sum_over_nodes(sample, integrand, _fixed(dust.vertical), rule, count)
        return [jnp.where(enough, image, jnp.nan) for image in images] if rule.or_none else images

    return _alike(integral, integrands)


@_integrals.def_jvp
def _integrals_jvp(primals, tangents, *, rule):
    ((integrands,), (dots,)), found = (primals, tangents), {}
    few = []
    for index, (integrand, dot) in enumerate(zip(integrands, dots, strict=True)):
        if number_of_numbers(dot.dust) > _MOST_DIRECTIONS:
            found[index] = through_a_scan(integrand, dot, rule)
        else:
            few.append(index)
    arguments = [(integrands[k], Moving.of(dots[k])) for k in few]
    for k, sums in zip(
        few, _alike(lambda of: sums_with_derivatives(*of, rule), arguments), strict=True
    ):
        found[k] = chain_rule(integrands[k], dots[k], sums)
    images, derivatives = zip(*(found[k] for k in range(len(integrands))), strict=True)
    return list(images), list(derivatives)


def _alike(function, arguments) -> list:
    """A function of each of some arguments, compiled once for those that differ by values only."""
    kinds: dict = {}
    for index, argument in enumerate(arguments):
        arrays, rest = eqx.partition(argument, eqx.is_array)
        leaves, tree = jax.tree.flatten(arrays)
        others, structure = jax.tree.flatten(rest)
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        kinds.setdefault((tree, shapes, structure, tuple(others)), []).append(index)
    found = {}
    for members in kinds.values():
        if len(members) == 1:
            found[members[0]] = function(arguments[members[0]])
            continue
        arrays, rest = zip(
            *(eqx.partition(arguments[index], eqx.is_array) for index in members), strict=True
        )
        stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *arrays)
        results = jax.lax.map(lambda own, rest=rest[0]: function(eqx.combine(own, rest)), stacked)
        for k, index in enumerate(members):
            found[index] = jax.tree.map(lambda result, k=k: result[k], results)
    return [found[index] for index in range(len(arguments))]
