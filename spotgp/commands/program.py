"""The program ``spotgp`` and what it can do."""

from collections.abc import Sequence

import jax

from pytreefit import cache_programs
from pytreefit.extend import SHOW, run_program

from .explore import EXPLORE
from .fit import FIT
from .simulate import SIMULATE
from .survey import SURVEY

_ABOUT = "Rotation, inclination and spots of stars from their light curves, with error bars."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program, and return its exit status.

    Parameters
    ----------
    argv
        What stands on the line after its name; by default that of this process.
    """
    # a Gaussian process in single precision loses digits
    jax.config.update("jax_enable_x64", True)
    cache_programs()  # the next run need not compile again
    return run_program("spotgp", _ABOUT, (FIT, EXPLORE, SURVEY, SHOW, SIMULATE), argv)
