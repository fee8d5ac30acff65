"""Error of the disk image against its accuracy setting.

    python benchmarks/accuracy.py

Errors against the independent reference images of the tests, and those of random disks against the
library's own finest setting, relative to the peak of the image; the star's own pixel is left out.
"""

import argparse
import json
import pathlib

import jax
import numpy as np

import grater

parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
parser.add_argument("--number", type=int, default=200, help="of random disks")
parser.add_argument("--polarized", action="store_true", help="the larger error of both intensities")
args = parser.parse_args()
SETTINGS = (1e-3, 1e-4, 1e-6)
REFERENCE = pathlib.Path(__file__).parents[1] / "tests" / "data"


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


def error_of_both(case, accuracy):
    """Of the total and of the polarised intensity that are integrated together, the larger one."""
    polarized = {**case, "spf": ["rayleigh_hg", *case["spf"][1:]]}
    one = scene_of(polarized, accuracy)
    channel = {name: grater.Channel(curve=name) for name in ("total", "polarized")}
    images = grater.Scene(one.disk, grid=one.grid, channel=channel, accuracy=accuracy).images()
    both = [np.array(images[name], dtype=float) for name in channel]
    truths = [np.array(scene_of(of, 1e-10).image()) for of in (case, polarized)]
    return max(
        np.max(np.abs(image - truth)) / np.max(truth)
        for image, truth in zip(both, truths, strict=True)
    )


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


def row(name, errors):
    print(f"| {name} | " + " | ".join(f"{value:.1e}" for value in errors) + " |")


for precision in ("float64", "float32"):
    jax.config.update("jax_enable_x64", precision == "float64")
    settings = SETTINGS if precision == "float64" else SETTINGS[:2]
    print(f"\n{precision}: accuracy = {settings}")
    cases = json.loads((REFERENCE / "disk_images.json").read_text())
    images = np.load(REFERENCE / "disk_images.npz")
    for name in images.files:
        row(name, [error(cases[name], setting, images[name]) for setting in settings])
    if precision == "float64" and args.number:
        rng = np.random.default_rng(1)
        errors, estimates = [], []
        for _ in range(args.number):
            case = random_case(rng)
            if args.polarized:
                errors.append([error_of_both(case, setting) for setting in settings])
            else:
                truth = np.array(scene_of(case, 1e-10).image())
                errors.append([error(case, setting, truth) for setting in settings])
            estimates.append([float(scene_of(case, s).integration_error()[0]) for s in settings])
        for name, quantile in (("median", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("worst", 1.0)):
            row(f"{args.number} random disks, {name}", np.quantile(errors, quantile, axis=0))
        errors, estimates = np.array(errors), np.array(estimates)
        for k, setting in enumerate(settings):
            over = errors[:, k] > setting
            said = estimates[over, k] > 0.9 * setting
            ratio = errors[:, k] / estimates[:, k]
            print(
                f"accuracy {setting:g}: {np.sum(over)} of {args.number} have a larger error, the "
                f"estimate says so of {np.sum(said)}; error over estimate {ratio.min():.2f} to "
                f"{ratio.max():.2f}"
            )
