"""How finely lines of sight are sampled, from the error that an image may have."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from pytreefit.extend import as_number, check_choice, outermost

NodesOn = Literal["auto", "surfaces", "segments"]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Rule:
    """How finely a line of sight is sampled, from the error that an image may have.

    Parameters
    ----------
    accuracy
        Error relative to the peak of the image, 1e-10 to 0.1.
    nodes_on
        Where the nodes lie: "surfaces" of equal height, "segments" of the lines of sight, or
        "auto", which goes by what is accurate enough.
    or_none
        Whether the image is NaN, without any samples, where surfaces are not accurate enough.

    Raises
    ------
    ValueError
        For another accuracy or another place of the nodes.

    Examples
    --------
    >>> Rule(accuracy=1e-3, nodes_on="surfaces").nodes_on
    'surfaces'
    """

    accuracy: float
    nodes_on: NodesOn = "auto"
    or_none: bool = dataclasses.field(default=False, repr=False)

    def __post_init__(self):
        check_choice("nodes_on", self.nodes_on, get_args(NodesOn))
        if not 1e-10 <= as_number("accuracy", self.accuracy) <= 0.1:
            raise ValueError(
                f"accuracy = {self.accuracy} is outside [1e-10, 0.1]. It is the error of the image "
                "relative to its peak: 1e-4 is a good start, 1e-6 a reference."
            )

    @property
    def numbers(self) -> tuple[int, ...]:
        """Gauss-Legendre nodes per segment that a disk may get."""
        digits = -math.log10(self.accuracy)
        usual = 2.5 + 2.0 * digits + (digits / 2.75) ** 3
        return tuple(math.ceil(factor * usual) for factor in (1.0, 1.4, 2.0, 3.0))

    @property
    def truncation(self) -> float:
        """Densities below this fraction of the largest are left out."""
        return self.accuracy / 30.0

    def tolerance(self, dtype) -> float:
        """Error that is allowed on a few lines of sight, with some margin for the others."""
        return max(0.2 * self.accuracy, 50.0 * float(jnp.finfo(dtype).eps))


def in_turn(program: Callable[[Rule], Any], rule: Rule, disks: int = 1) -> Any:
    """Images by surfaces and, only where they are not accurate enough, by segments.

    To compile both into one program takes twice the time, and few disks need the second. Within
    functions that are being compiled or differentiated there is no choice but that.

    Parameters
    ----------
    program
        Compiled function of a rule that returns images, a PyTree.
    rule
        The rule that is asked for.
    disks
        How many disks are in the images: of several, some may need surfaces and others segments.
    """
    if rule.nodes_on != "auto" or not outermost():
        return program(rule)
    images = program(dataclasses.replace(rule, nodes_on="surfaces", or_none=True))
    if not any(np.isnan(np.sum(np.asarray(image))) for image in jax.tree.leaves(images)):
        return images
    return program(rule if disks > 1 else dataclasses.replace(rule, nodes_on="segments"))
