"""Everything is tested in double precision and with JAX's implicit conversions forbidden.

Nearly all the time of these tests is compilation, so the compiler is told to optimise little: the
same numbers, to rounding, in half of the time. ``XLA_FLAGS= make test`` tests what users get.
"""

import os
import subprocess
import sys

import jax

QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"

if "XLA_FLAGS" not in os.environ:
    # a version of XLA that does not know a flag ends the process
    trial = [sys.executable, "-c", "import jax; jax.devices()"]
    known = subprocess.run(trial, env={**os.environ, "XLA_FLAGS": QUICK}, capture_output=True)
    # set in any case, so that workers need not try again
    os.environ["XLA_FLAGS"] = QUICK if known.returncode == 0 else ""

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
