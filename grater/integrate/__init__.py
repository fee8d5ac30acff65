"""The line-of-sight integral behind every image; nothing of it is public but `Rule`.

| module | what it does |
|---|---|
| `rule` | how finely lines of sight are sampled |
| `geometry` | where a disk lies and where a line of sight meets it |
| `dust` | the integrand |
| `extents` | where a disk's density matters, measured on its profiles |
| `surfaces`, `segments` | the two ways to place nodes |
| `nodes` | which of them, and how many nodes |
| `sweep`, `derivatives` | sums over the nodes of all lines of sight, and their derivatives |
| `integrals` | the integral as a function that JAX differentiates |

Some names mean the same everywhere. ``geometry`` is the disk's, for nodes in semi-major axes, and
``unit`` is that axis in au. ``x`` and ``y`` are sky coordinates along the disk's major and
minor axis from the star, of any shape ``*pixels``; ``l`` is the position along the line of sight.
``radial`` and ``vertical`` are the profiles, ``height`` is the scale height in semi-major axes as a
function of the elliptic radius q, and what is below the fraction ``truncation`` of the largest is
left out. ``moving`` holds what is differentiated, None in place of numbers that are fixed.
"""

from .dust import Dust
from .geometry import Geometry, sky_to_disk
from .integrals import integration_error, line_of_sight_integrals
from .rule import NodesOn, Rule, in_turn

__all__ = [
    "Dust",
    "Geometry",
    "NodesOn",
    "Rule",
    "in_turn",
    "integration_error",
    "line_of_sight_integrals",
    "sky_to_disk",
]
