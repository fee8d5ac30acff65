"""The independent reference kernels."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import spotgp
from factories import make_star

DATA = Path(__file__).parents[1] / "data"

CASES = (
    "trapsym_default",
    "strong_shear_long_lag",
    "trapasym",
    "exponential",
    "limb_darkened",
    "short_plateau_low_inc",
)


def reference_model(case: dict) -> spotgp.SpotEvolutionModel:
    """The star that a case of the reference describes."""
    shape = {name: case[name] for name in ("peq", "kappa", "inc")}
    if case["visibility"] == "LimbDarkenedVisibilityFunction":
        shape |= dict(zip(("u1", "u2"), case["u"], strict=True))
    return spotgp.SpotEvolutionModel(
        envelope=getattr(spotgp, case["envelope"])(**case["envelope_params"]),
        visibility=getattr(spotgp, case["visibility"])(**shape),
        sigma_k=case["sigma_k"],
    )


@pytest.fixture(scope="session")
def reference():
    """Parameters and arrays of the reference, as {case: (parameters, {name: array})}."""
    cases = json.loads((DATA / "spot_kernels.json").read_text())["cases"]
    with np.load(DATA / "spot_kernels.npz") as arrays:
        return {
            case["name"]: (
                case,
                {k.partition("/")[2]: arrays[k] for k in arrays if k.startswith(case["name"])},
            )
            for case in cases
        }


@pytest.fixture(scope="session")
def star():
    """A spotted star."""
    return make_star()


@pytest.fixture(scope="session")
def compiled():
    """The function of each program that has been compiled, such as "jit(sin)": a growing list."""
    names = []

    def listen(event, seconds, **details):
        del seconds
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(details["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    return names
