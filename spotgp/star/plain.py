"""Plain Python numbers out of arrays, where their values are known."""

import numpy as np

from pytreefit.extend import is_traced


def plain(value):
    """A concrete array as a Python float (or nested list of them), a traced one as it is."""
    return value if is_traced(value) else np.asarray(value).tolist()
