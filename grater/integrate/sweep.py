"""Sums over the nodes of all lines of sight, taken in blocks."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .dust import Integrand
from .nodes import Plan
from .rule import Rule

# lines of sight that are integrated at once, about: so many that their sums stay in the caches
_BLOCK = 4992
# loops of the compiler are over wide vectors, and what is left over is done one by one
_ALIGNED = 64


def number_of_blocks(size: int) -> int:
    """Equal blocks for so many lines of sight."""
    return max(1, round(size / _BLOCK))


def spare_lines(size: int) -> int:
    """How many more lines make equal blocks of them."""
    return -size % (_ALIGNED * number_of_blocks(size))


def sum_over_nodes(sample: Callable, integrand: Integrand, moving, rule: Rule, count: int):
    """Sums of samples over the nodes of all lines of sight.

    Parameters
    ----------
    sample
        Function of the dust, the pixels x and y, the position along the line of sight, the weight
        of the node and the sums so far that returns the new sums; all of shape (n,), in au.
    integrand, moving, rule
        As for `Plan`.
    count
        Number of sums.

    Returns
    -------
    sums
        A list, each of the shape of the pixels.
    enough
        Whether surfaces of equal height are accurate enough.
    """
    x, y = integrand.x, integrand.y
    plan, blocks = Plan(integrand, moving, rule), number_of_blocks(x.size)

    def through(x, y):
        number, node = plan.nodes(x, y)
        start = [jnp.zeros_like(x)] * count

        def with_dust(dust):
            def add_node(k, sums):
                return sample(dust, x, y, *node(k), sums)

            return jax.lax.fori_loop(0, number, add_node, start)

        dust, simpler = integrand.dust, integrand.dust.vertical.simpler()
        if simpler is None:
            return with_dust(dust)
        # a choice within the loop would keep the compiler from making one kernel of a sample
        holds, vertical = simpler
        simple = dust._replace(vertical=vertical)
        return jax.lax.cond(holds, lambda: with_dust(simple), lambda: with_dust(dust))

    if blocks == 1:
        return through(x, y), plan.enough
    if not plan.cuts_segments:
        return _over_blocks(through, x, y, blocks, blocks, count), plan.enough
    # lines of sight that see the disk come first, and the others are left out
    lit = plan.lit(*jax.lax.stop_gradient((x, y)))
    place = jnp.cumsum(lit) - 1
    target = jnp.where(lit, place, x.size)
    x, y = (v[-1:].repeat(v.size).at[target].set(v, mode="drop") for v in (x, y))
    size = x.size // blocks
    images = _over_blocks(through, x, y, blocks, (place[-1] + size) // size, count)
    return [jnp.where(lit, image.at[place].get(mode="clip"), 0.0) for image in images], plan.enough


def _over_blocks(through, x, y, blocks: int, used, count: int) -> list[Array]:
    """Images whose first blocks are worked out one by one; those that are not used are 0."""
    size = x.size // blocks

    def block(index, images):
        sums = through(*(jax.lax.dynamic_slice(v, (index * size,), (size,)) for v in (x, y)))
        both = zip(images, sums, strict=True)
        return [jax.lax.dynamic_update_slice(image, part, (index * size,)) for image, part in both]

    return jax.lax.fori_loop(0, used, block, [jnp.zeros_like(x)] * count)
