"""Methods of modules can be pickled.

Equinox's bound methods hold the annotations of their functions, which can't be.
"""

import copyreg
from typing import Any

from .model import Model


def _reduced(method: Any):
    """The owner and the name of a method."""
    return getattr, (method.__self__, method.__func__.__name__)


copyreg.pickle(type(Model().get), _reduced)
