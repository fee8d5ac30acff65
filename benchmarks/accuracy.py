"""Error of the disk image against its accuracy setting.

    python benchmarks/accuracy.py [--number 200]

Errors of the independent reference images in ``tests/data``, and of random disks against the
library's own finest setting, relative to the peak of the image. The star's own pixel is left out.
"""

import argparse
import json

import common
import jax
import numpy as np

import grater

SETTINGS = (1e-3, 1e-4, 1e-6)
REFERENCE = common.HERE.parent / "tests" / "data"


def phase_of(kind, *values):
    return {
        "hg": grater.HenyeyGreenstein,
        "double_hg": grater.TwoHenyeyGreenstein,
        "rayleigh_hg": lambda g: grater.Polarized(grater.HenyeyGreenstein(g)),
    }[kind](*values)


def scene_of(case, accuracy):
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
        phase=phase_of(*case["spf"]),
    )
    grid = grater.Grid(case["shape"], case["pixel_scale"], case["distance"])
    return grater.Scene(disk, grid=grid, accuracy=accuracy)


def error(case, accuracy, truth):
    image = np.array(scene_of(case, accuracy).image(), dtype=float)
    ny, nx = image.shape
    image[ny // 2, nx // 2] = truth[ny // 2, nx // 2]
    return np.max(np.abs(image - truth)) / np.max(truth)


def random_case(rng):
    edge = rng.uniform(85.0, 95.0)
    inclination = rng.choice([rng.uniform(0.0, 180.0), edge, 90.0, 0.0], p=[0.65, 0.25, 0.08, 0.02])
    return {
        "shape": (40, 40),
        "pixel_scale": 0.045,
        "distance": 72.8,
        "semi_major_axis": 40.0,
        "inclination": inclination,
        "position_angle": rng.uniform(0.0, 360.0),
        "alpha_in": rng.uniform(2.0, 30.0),
        "alpha_out": -rng.uniform(2.0, 12.0),
        "scale_height": 40.0 * rng.uniform(0.005, 0.1),
        "gamma": rng.choice([1.0, 2.0, rng.uniform(1.0, 4.0)]),
        "beta": rng.choice([1.0, rng.uniform(0.0, 1.5)]),
        "eccentricity": rng.choice([0.0, rng.uniform(0.0, 0.3)]),
        "omega": rng.uniform(-180.0, 180.0),
        "offset": rng.uniform(-4.0, 4.0, 2) * rng.integers(0, 2),
        "spf": ["hg", rng.uniform(-0.5, 0.8)],
    }


def rows_of(name, errors, settings=SETTINGS):
    """A row for each setting and quantile of what many disks have, or of what one image has."""
    errors = np.atleast_2d(errors)
    quantiles = (0.5, 0.9, 0.99, 1.0) if len(errors) > 1 else (1.0,)
    for quantile in quantiles:
        for setting, value in zip(settings, np.quantile(errors, quantile, axis=0), strict=True):
            row = {"image": name, "quantile": quantile, "accuracy": setting, "error": float(value)}
            print(row, flush=True)
            yield row


def references():
    """Errors of the reference images."""
    cases = json.loads((REFERENCE / "disk_images.json").read_text())
    with np.load(REFERENCE / "disk_images.npz") as images:
        for name, truth in images.items():
            yield from rows_of(name, [error(cases[name], setting, truth) for setting in SETTINGS])


def random_disks(number):
    """Errors of random disks, and what is said of large ones."""
    rng = np.random.default_rng(1)
    errors, stated = [], []
    for _ in range(number):
        case = random_case(rng)
        truth = np.array(scene_of(case, 1e-10).image())
        errors.append([error(case, setting, truth) for setting in SETTINGS])
        stated.append([float(scene_of(case, s).integration_error()[0]) for s in SETTINGS])
    yield from rows_of(f"{number} random disks", errors)
    for setting, true, said in zip(
        SETTINGS, np.transpose(errors), np.transpose(stated), strict=True
    ):
        over = true > setting
        yield {
            "image": f"{number} random disks, stated",
            "accuracy": setting,
            "larger error": int(np.sum(over)),
            "and said so": int(np.sum(said[over] > 0.9 * setting)),
            "largest ratio of error to what is stated": float(np.max(true / said)),
        }


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--number", type=int, default=200, help="of random disks")
    number = parser.parse_args().number
    jax.config.update("jax_enable_x64", True)
    rows = [*references(), *(random_disks(number) if number else ())]
    common.record("accuracy", rows, precision="float64")


if __name__ == "__main__":
    main()
