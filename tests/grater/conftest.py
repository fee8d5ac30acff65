"""The independent reference images and functions to compile once."""

import json
from pathlib import Path

import equinox as eqx
import numpy as np
import pytest

import grater

DATA = Path(__file__).parents[1] / "data"


@eqx.filter_jit
def render(scene):
    """The image, compiled once for all tests of one process that share a structure."""
    return scene.image()


def general_disk(**changes) -> grater.Disk:
    """A disk that is flared, eccentric, shifted and tilted."""
    values = dict(
        semi_major_axis=40.0,
        inclination=63.0,
        position_angle=25.0,
        alpha_in=6.0,
        alpha_out=-4.0,
        scale_height=2.0,
        gamma=1.5,
        beta=0.7,
        eccentricity=0.2,
        argument_of_pericenter=50.0,
        offset_x=2.0,
        offset_y=-1.0,
        phase=grater.HenyeyGreenstein(0.4),
    )
    return grater.Disk(**{**values, **changes})


CASES = (
    "face_on",
    "i45",
    "i77_narrow_eccentric",
    "i88_narrow",
    "i90_exact",
    "i60_gamma1_beta0",
    "i70_polarised",
    "i55_offset",
)


def reference_scene(case: dict, accuracy: float, phase=None, coarser: int = 1) -> grater.Scene:
    """The scene that a case of the reference describes, if need be in fewer, larger pixels."""
    kind, *values = case["spf"]
    phases = {
        "hg": lambda: grater.HenyeyGreenstein(*values),
        "double_hg": lambda: grater.TwoHenyeyGreenstein(*values),
        "rayleigh_hg": lambda: grater.Polarized(grater.HenyeyGreenstein(*values)),
    }
    disk = grater.Disk(
        case["semi_major_axis"],
        case["inclination"],
        case["position_angle"],
        alpha_in=case["alpha_in"],
        alpha_out=case["alpha_out"],
        scale_height=case["scale_height"],
        gamma=case["gamma"],
        beta=case["beta"],
        eccentricity=case["eccentricity"],
        argument_of_pericenter=case["omega"],
        offset_x=case["offset"][0],
        offset_y=case["offset"][1],
        phase=phases[kind]() if phase is None else phase,
    )
    shape = tuple(n // coarser for n in case["shape"])
    grid = grater.Grid(shape, case["pixel_scale"] * coarser, case["distance"])
    return grater.Scene(disk, grid=grid, accuracy=accuracy)


@pytest.fixture(scope="session")
def reference():
    """Parameters and images of the reference, as {case: (parameters, image)}."""
    cases = json.loads((DATA / "disk_images.json").read_text())
    with np.load(DATA / "disk_images.npz") as images:
        return {name: (cases[name], images[name]) for name in CASES}
