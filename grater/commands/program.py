"""The program ``grater`` and what it can do."""

from collections.abc import Sequence

from pytreefit import cache_programs
from pytreefit.extend import SHOW, run_program

from .explore import EXPLORE
from .fit import FIT
from .simulate import SIMULATE
from .survey import SURVEY

_ABOUT = "Geometry, dust and phase function of debris disks from their images, with error bars."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program, and return its exit status.

    Parameters
    ----------
    argv
        What stands on the line after its name; by default that of this process.
    """
    cache_programs()  # the next run need not compile again
    return run_program("grater", _ABOUT, (FIT, EXPLORE, SURVEY, SHOW, SIMULATE), argv)
