"""Rotation of a spotted star, from a Kepler or TESS light curve.

    python examples/fit_rotation.py kplr001430163-2010355172524_llc.fits.gz
    python examples/fit_rotation.py kepler63.npz --days 200

It is the command ``spotgp fit``, whose ``--help`` says what it does and what can be set;
``spotgp/commands/fit.py`` is the whole way in Python.
"""

import sys
from pathlib import Path

from spotgp.commands import main

sys.exit(main(["fit", "--output", str(Path(__file__).parent / "output"), *sys.argv[1:]]))
