"""Fit and sample the debris disk in a polarimetric image of the Gemini Planet Imager.

    python examples/fit_gpi_disk.py FILE --distance 71.9

It is the command ``grater fit``, whose ``--help`` says what it does and what can be set;
``grater/commands/fit.py`` is the whole way in Python.
"""

import sys
from pathlib import Path

from grater.commands import main

sys.exit(main(["fit", "--output", str(Path(__file__).parent / "output"), *sys.argv[1:]]))
