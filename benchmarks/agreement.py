"""Images of VIP and GRaTeR-JAX, whose quadrature gets finer, against ours of the same parameters.

    python benchmarks/agreement.py FOLDER

Both are installed into environments of their own in FOLDER, unless they are there already, and take
the dictionaries that `grater.from_vip` and `grater.from_grater_jax` convert. Given are the largest
differences, in units of the peak, over the pixels that the other code computes. They must fall as
its number of slices grows, down to the dust that it cuts off: of VIP some images are made with its
cut-off in height moved outwards, by factors on its z_max.
"""

# the rivals live in environments of their own
# pyright: reportMissingImports=false

import argparse
import contextlib
import io
import pathlib
import sys
import tempfile

import common
import numpy as np

SLICES = [25, 50, 100, 200, 400, 800]
CUT_OFFS = [1.0, 2.5]
CUT_OFFS_FLARED = [1.0, 2.5, 8.0, 24.0]  # what a disk holds above VIP's cut-off grows with flaring

VIP_GEOMETRY = {
    "nx": 64, "ny": 64, "distance": 72.8, "pxInArcsec": 0.0283, "itilt": 60.0, "pa": 30.0,
    "omega": 0.0,
}  # fmt: skip
VIP_DENSITY = {
    "name": "2PowerLaws", "a": 40.0, "ain": 8.0, "aout": -6.0, "e": 0.0, "ksi0": 1.5, "gamma": 2.0,
    "beta": 1.0,
}  # fmt: skip
HG = {"name": "HG", "g": 0.3, "polar": False}
TABLE = {
    "name": "interpolated",
    "phi": [0, 15, 30, 50, 70, 90, 120, 150, 180],
    "spf": [4.0, 2.2, 1.1, 0.5, 0.3, 0.2, 0.15, 0.17, 0.2],
}


def vip_case(density=None, spf=HG, **geometry):
    """One dictionary of VIP's arguments."""
    return {
        **VIP_GEOMETRY,
        **geometry,
        "density_dico": {**VIP_DENSITY, **(density or {})},
        "spf_dico": spf,
    }


VIP = {
    "face-on": vip_case(itilt=0.0),
    "i = 45": vip_case(itilt=45.0),
    "i = 120, odd size": vip_case(itilt=120.0, nx=63, ny=65),
    "i = 77, narrow": vip_case({"ain": 30.0, "aout": -10.0, "ksi0": 0.6}, itilt=77.0),
    "i = 84, narrow": vip_case({"ain": 20.0, "aout": -12.0, "ksi0": 0.8}, itilt=84.0),
    "elliptic": vip_case({"e": 0.2}, omega=110.0),
    "elliptic, offset": vip_case({"e": 0.1}, omega=-40.0, xdo=4.0, ydo=-3.0),
    "offset, star off centre": vip_case(xdo=4.0, ydo=-3.0, xs=33.3, ys=30.6),
    "exponential, no flaring": vip_case({"gamma": 1.0, "beta": 0.0}),
    "strong flaring": vip_case({"beta": 1.8, "aout": -4.0}),
    "two HG": vip_case(spf={"name": "DoubleHG", "g": [0.7, -0.2], "weight": 0.7, "polar": False}),
    "polarised HG": vip_case(spf={"name": "HG", "g": 0.5, "polar": True}),
    "polarised, polynomial": vip_case(
        spf={**HG, "polar": True, "polar_polynom_coeff": [-1.0e-9, 0.0, 1.0e-4, 0.02]}
    ),
    "table": vip_case(spf=TABLE),
    "flux_max": vip_case(flux_max=250.0),
}

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
GRATER_JAX = {
    "HG": (DISK, {"g": 0.3}),
    "two HG, i = 110": ({**DISK, "inclination": 110.0}, {"g1": 0.7, "g2": -0.2, "weight": 0.6}),
    "spline": (DISK, SPLINE),
    "exponential, no flaring": ({**DISK, "gamma": 1.0, "beta": 0.0}, {"g": 0.3}),
}


def vip(parameters, half, factor):
    from vip_hci.fm.scattered_light_disk import ScatteredLightDisk

    with contextlib.redirect_stdout(io.StringIO()):
        disk = ScatteredLightDisk(**parameters)
        disk.dust_density.dust_distribution_calc.zmax *= factor
        return disk.compute_scattered_light(halfNbSlices=half)


def grater_jax(parameters, half, factor):
    import jax.numpy as jnp
    from grater_jax.disk_model import SLD_utils as parts
    from grater_jax.disk_model.objective_functions import objective_model
    from grater_jax.disk_model.SLD_ojax import ScatteredLightDisk

    del factor
    disk, spf = parameters
    kind = parts.HenyeyGreenstein_SPF if "g" in spf else parts.DoubleHenyeyGreenstein_SPF
    if "knot_values" in spf:
        spf["knot_values"] = jnp.array(spf["knot_values"])
        kind = parts.InterpolatedUnivariateSpline_SPF
    profile = parts.DustEllipticalDistribution2PowerLaws
    misc = {**MISC, "halfNbSlices": half}
    return objective_model(disk, spf, None, misc, ScatteredLightDisk, profile, kind, None)


def ours(code, parameters, accuracy=1e-8):
    """Our image of the converted disk on the other code's grid."""
    import grater

    if code == "vip":
        center = (parameters["xs"], parameters["ys"]) if "xs" in parameters else None
        disk, misc = grater.from_vip(parameters), parameters
    else:
        center = parameters[0]["x_center"], parameters[0]["y_center"]
        disk, misc = grater.from_grater_jax(*parameters, MISC), MISC
    shape = misc["ny"], misc["nx"]
    grid = grater.Grid(shape, misc["pxInArcsec"], misc["distance"], center)
    return np.asarray(grater.Scene(disk, grid=grid, accuracy=accuracy).image())


CODES = {"vip": (vip, VIP), "grater-jax": (grater_jax, GRATER_JAX)}


def answers(code):
    """What a worker of a rival does when it is asked."""

    def answer(parameters, half, factor, target):
        np.save(target, np.asarray(CODES[code][0](parameters, half, factor), float))
        return {}

    return answer


def compare(code, python):
    """A row for each image of the other code."""
    worker = common.Worker([python, __file__, "--serve", code], rival=True, JAX_ENABLE_X64="1")
    with tempfile.TemporaryDirectory() as folder:
        target = str(pathlib.Path(folder, "image.npy"))
        for name, parameters in CODES[code][1].items():
            image = ours(code, parameters)
            flared = code == "vip" and parameters["density_dico"]["beta"] > 1
            factors = CUT_OFFS_FLARED if flared else CUT_OFFS if code == "vip" else [1.0]
            for factor in factors:
                for half in SLICES:
                    asked = {"half": half, "factor": factor, "target": target}
                    answer = worker.ask(parameters=parameters, **asked)
                    if "failed" in answer:
                        raise RuntimeError(answer["failed"])
                    theirs = np.load(target)
                    computed = theirs > 0
                    off = np.max(np.abs(theirs - image)[computed]) / np.max(image[computed])
                    row = {"code": code, "disk": name, "cut-off, z_max": 2.0 * factor}
                    yield {**row, "slices": 2 * half - 1, "difference": float(off)}
    worker.stop()


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    import jax

    jax.config.update("jax_enable_x64", True)
    rows = []
    for code, what in (("vip", "vip-hci"), ("grater-jax", "grater-jax==0.3.0")):
        for row in compare(code, common.environment(folder, code, what)):
            print(row, flush=True)
            rows.append(row)
    common.record("agreement", rows, precision="float64")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        common.serve(answers(sys.argv[2]))
    else:
        main()
