"""Compare images with those of VIP, whose quadrature gets finer from column to column.

    python benchmarks/compare_vip.py /path/to/python/with/vip_hci

VIP runs in its own interpreter (``pip install vip-hci`` into a separate environment), with the same
dictionaries that `grater.from_vip` converts. The numbers are the largest difference, in units of
the peak, over the pixels that VIP computes (it leaves out those close to the star and those beyond
its outer radius). They must fall as VIP's number of slices grows, down to the dust that VIP cuts
off: further rows of each disk move VIP's cut-off in height outwards, by factors on its z_max.
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

SLICES = [25, 50, 100, 200, 400, 800]
CUT_OFFS = [1.0, 2.5]
CUT_OFFS_FLARED = [1.0, 2.5, 8.0, 24.0]  # what a disk holds above VIP's cut-off grows with flaring

GEOMETRY = {
    "nx": 64, "ny": 64, "distance": 72.8, "pxInArcsec": 0.0283, "itilt": 60.0, "pa": 30.0,
    "omega": 0.0,
}  # fmt: skip
DENSITY = {
    "name": "2PowerLaws", "a": 40.0, "ain": 8.0, "aout": -6.0, "e": 0.0, "ksi0": 1.5, "gamma": 2.0,
    "beta": 1.0,
}  # fmt: skip
HG = {"name": "HG", "g": 0.3, "polar": False}
TABLE = {
    "name": "interpolated",
    "phi": [0, 15, 30, 50, 70, 90, 120, 150, 180],
    "spf": [4.0, 2.2, 1.1, 0.5, 0.3, 0.2, 0.15, 0.17, 0.2],
}


def case(density=None, spf=HG, **geometry):
    """One dictionary of VIP's arguments."""
    return {**GEOMETRY, **geometry, "density_dico": {**DENSITY, **(density or {})}, "spf_dico": spf}


CASES = {
    "face-on": case(itilt=0.0),
    "i = 45": case(itilt=45.0),
    "i = 120, odd size": case(itilt=120.0, nx=63, ny=65),
    "i = 77, narrow": case({"ain": 30.0, "aout": -10.0, "ksi0": 0.6}, itilt=77.0),
    "i = 84, narrow": case({"ain": 20.0, "aout": -12.0, "ksi0": 0.8}, itilt=84.0),
    "elliptic": case({"e": 0.2}, omega=110.0),
    "elliptic, offset": case({"e": 0.1}, omega=-40.0, xdo=4.0, ydo=-3.0),
    "offset, star off centre": case(xdo=4.0, ydo=-3.0, xs=33.3, ys=30.6),
    "exponential, no flaring": case({"gamma": 1.0, "beta": 0.0}),
    "strong flaring": case({"beta": 1.8, "aout": -4.0}),
    "two HG": case(spf={"name": "DoubleHG", "g": [0.7, -0.2], "weight": 0.7, "polar": False}),
    "polarised HG": case(spf={"name": "HG", "g": 0.5, "polar": True}),
    "polarised, polynomial": case(
        spf={**HG, "polar": True, "polar_polynom_coeff": [-1.0e-9, 0.0, 1.0e-4, 0.02]}
    ),
    "table": case(spf=TABLE),
    "flux_max": case(flux_max=250.0),
}

VIP_PROGRAM = """
import contextlib, io, json, sys
import numpy as np
from vip_hci.fm.scattered_light_disk import ScatteredLightDisk

cases, slices = json.load(open(sys.argv[1]))
images = {}
with contextlib.redirect_stdout(io.StringIO()):
    for name, (parameters, factors) in cases.items():
        for factor in factors:
            for half in slices:
                disk = ScatteredLightDisk(**parameters)
                disk.dust_density.dust_distribution_calc.zmax *= factor
                images[f"{name}|{factor}|{half}"] = disk.compute_scattered_light(halfNbSlices=half)
np.savez(sys.argv[2], **images)
"""


def cut_offs(parameters):
    """Factors on VIP's cut-off in height that a case is rendered with."""
    return CUT_OFFS_FLARED if parameters["density_dico"]["beta"] > 1 else CUT_OFFS


def vip_images(python, slices=SLICES):
    """Render all cases with VIP: images by "name|factor on its cut-off in height|slices"."""
    cases = {name: (parameters, cut_offs(parameters)) for name, parameters in CASES.items()}
    with tempfile.TemporaryDirectory() as folder:
        request, answer = pathlib.Path(folder, "request.json"), pathlib.Path(folder, "images.npz")
        request.write_text(json.dumps([cases, slices]))
        subprocess.run([python, "-c", VIP_PROGRAM, str(request), str(answer)], check=True)
        with np.load(answer) as images:
            return dict(images)


def our_image(parameters, accuracy=1e-8):
    """Render the converted disk on VIP's grid."""
    grid = grater.Grid(
        (parameters["ny"], parameters["nx"]),
        pixel_scale=parameters["pxInArcsec"],
        distance=parameters["distance"],
        center=(parameters["xs"], parameters["ys"]) if "xs" in parameters else None,
    )
    disk = grater.from_vip(parameters)
    return np.asarray(grater.Scene(disk, grid=grid, accuracy=accuracy).image())


def difference(vip, ours):
    """Largest difference over the pixels that VIP computes, in units of the peak."""
    computed = vip > 0
    return np.max(np.abs(vip - ours)[computed]) / np.max(ours[computed])


def main():
    """Print the table, as Markdown."""
    parser = argparse.ArgumentParser(description="Compare images with those of VIP.")
    parser.add_argument("python", help="an interpreter that can import vip_hci")
    images = vip_images(parser.parse_args().python)
    print(f"| disk | VIP's cut-off | {' | '.join(f'{2 * n - 1} slices' for n in SLICES)} |")
    print("|---|---|" + "---|" * len(SLICES))
    for name, parameters in CASES.items():
        ours = our_image(parameters)
        for factor in cut_offs(parameters):
            row = [difference(images[f"{name}|{factor}|{half}"], ours) for half in SLICES]
            print(
                f"| {name} | {2 * factor:g} z_max | {' | '.join(f'{value:.1e}' for value in row)} |"
            )


if __name__ == "__main__":
    main()
