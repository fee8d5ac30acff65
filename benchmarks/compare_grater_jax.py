"""Compare images with those of GRaTeR-JAX, whose quadrature gets finer from column to column.

    python benchmarks/compare_grater_jax.py /path/to/python/with/grater_jax

GRaTeR-JAX runs in its own interpreter (``pip install grater-jax==0.3.0`` into a separate
environment), with the dictionaries that `grater.from_grater_jax` converts. The numbers are the
largest difference, in units of the peak, over the pixels that GRaTeR-JAX computes.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402

import grater  # noqa: E402

SLICES = [25, 50, 100, 200, 400]
DISK = {
    "accuracy": 5e-3, "alpha_in": 8.0, "alpha_out": -6.0, "sma": 40.0, "e": 0.1, "ksi0": 1.5,
    "gamma": 2.0, "beta": 1.0, "rmin": 0.0, "dens_at_r0": 1.0, "inclination": 60.0,
    "position_angle": 30.0, "x_center": 32.0, "y_center": 33.0, "omega": 110.0,
}  # fmt: skip
MISC = {"distance": 72.8, "pxInArcsec": 0.0283, "nx": 64, "ny": 66, "flux_scaling": 1e6}
SPLINE = {
    "backscatt_bound": -0.8, "forwardscatt_bound": 0.85, "num_knots": 6,
    "knot_values": [3.0, 2.0, 1.3, 0.8, 0.7, 0.9],
}  # fmt: skip
CASES = {
    "HG": (DISK, {"g": 0.3}),
    "two HG, i = 110": ({**DISK, "inclination": 110.0}, {"g1": 0.7, "g2": -0.2, "weight": 0.6}),
    "spline": (DISK, SPLINE),
    "exponential, no flaring": ({**DISK, "gamma": 1.0, "beta": 0.0}, {"g": 0.3}),
}

GRATER_JAX_PROGRAM = """
import json, sys
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
from grater_jax.disk_model import SLD_utils as parts
from grater_jax.disk_model.objective_functions import objective_model
from grater_jax.disk_model.SLD_ojax import ScatteredLightDisk

def phase_class(spf):
    if "knot_values" in spf:
        spf["knot_values"] = jax.numpy.array(spf["knot_values"])
        return parts.InterpolatedUnivariateSpline_SPF
    return parts.HenyeyGreenstein_SPF if "g" in spf else parts.DoubleHenyeyGreenstein_SPF

cases, misc, slices = json.load(open(sys.argv[1]))
images = {}
for name, (disk, spf) in cases.items():
    for half in slices:
        images[f"{name}|{half}"] = objective_model(
            disk, spf, None, {**misc, "halfNbSlices": half}, ScatteredLightDisk,
            parts.DustEllipticalDistribution2PowerLaws, phase_class(spf), None)
np.savez(sys.argv[2], **images)
"""


def grater_jax_images(python):
    """Render all cases with GRaTeR-JAX: images by "name|slices"."""
    with tempfile.TemporaryDirectory() as folder:
        request, answer = pathlib.Path(folder, "request.json"), pathlib.Path(folder, "images.npz")
        request.write_text(json.dumps([CASES, MISC, SLICES]))
        subprocess.run([python, "-c", GRATER_JAX_PROGRAM, str(request), str(answer)], check=True)
        with np.load(answer) as images:
            return dict(images)


def our_image(disk, spf, accuracy=1e-8):
    """Render the converted disk on the same grid."""
    grid = grater.Grid(
        (MISC["ny"], MISC["nx"]),
        pixel_scale=MISC["pxInArcsec"],
        distance=MISC["distance"],
        center=(disk["x_center"], disk["y_center"]),
    )
    scene = grater.Scene(grater.from_grater_jax(disk, spf, MISC), grid=grid, accuracy=accuracy)
    return np.asarray(scene.image())


def main():
    """Print the table, as Markdown."""
    parser = argparse.ArgumentParser(description="Compare images with those of GRaTeR-JAX.")
    parser.add_argument("python", help="an interpreter that can import grater_jax")
    images = grater_jax_images(parser.parse_args().python)
    print(f"| disk | {' | '.join(f'{2 * n - 1} slices' for n in SLICES)} |")
    print("|---|" + "---|" * len(SLICES))
    for name, (disk, spf) in CASES.items():
        ours = our_image(disk, spf)
        row = []
        for half in SLICES:
            theirs = images[f"{name}|{half}"]
            row.append(np.max(np.abs(theirs - ours)[theirs > 0]) / np.max(ours))
        print(f"| {name} | {' | '.join(f'{value:.1e}' for value in row)} |")


if __name__ == "__main__":
    main()
