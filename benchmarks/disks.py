"""Disk images side by side with GRaTeR-JAX, VIP and skyscapes: time, and error at that time.

    python benchmarks/disks.py FOLDER [--runs 15] [--cases image gradient]

The rivals are installed into environments of their own in FOLDER, unless they are there already.
Each code runs in processes of its own, all kept alive, and they take turns: in every round 0.2 s of
calls that are not timed, and then 50 ms of calls, or one that takes longer. This package gets one
core, the others get all. Errors are the largest difference to a converged image over the pixels
that a code computes, relative to the peak: as the image is, and after it has been multiplied with
the factor that suits it best (a flux that is fitted does that).
"""

# the rivals live in environments of their own
# pyright: reportMissingImports=false

import argparse
import os
import pathlib
import sys
import tempfile
import time

import common
import numpy as np

RIVALS = {"grater-jax": "grater-jax==0.3.0", "vip": "vip-hci", "skyscapes": "skyscapes==2.0.0"}
LABELS = {"ours": "this package", "grater-jax": "GRaTeR-JAX", "vip": "VIP"}
DISK = {
    "accuracy": 5e-3, "alpha_in": 5.0, "alpha_out": -5.0, "sma": 40.0, "e": 0.1, "ksi0": 3.0,
    "gamma": 2.0, "beta": 1.0, "rmin": 0.0, "dens_at_r0": 1.0, "inclination": 60.0,
    "position_angle": 30.0, "omega": 110.0,
}  # fmt: skip
HG = {"g": 0.3}
SPLINE = {
    "backscatt_bound": -0.87, "forwardscatt_bound": 0.87, "num_knots": 6,
    "knot_values": [1.4, 1.2, 1.0, 1.1, 1.5, 2.3],
}  # fmt: skip
# what is asked: an image, or the log-likelihood and its gradient in all parameters
CASES = {
    "image": {},
    "image, double": {"bits": 64},
    "image, round disk": {"e": 0.0, "size": 141},
    "image with PSF": {"psf": True},
    "image, 200 pixels": {"size": 200},
    "image, i = 88": {"inclination": 88.0},
    "gradient": {"gradient": True},
    "gradient, double": {"gradient": True, "bits": 64},
    "gradient with PSF": {"gradient": True, "psf": True},
    "gradient, spline": {"gradient": True, "spf": SPLINE},
    "gradient, 200 pixels": {"gradient": True, "size": 200},
    "gradient, i = 88": {"gradient": True, "inclination": 88.0},
}
OURS = {"2e-3": 2e-3, "1e-4": 1e-4, "1e-6": 1e-6, "truth": 1e-8}
SLICES = {"49": 25, "199": 100}


def full(case):
    """All settings of a case."""
    case = {"bits": 32, "size": 140, "psf": False, "gradient": False, "spf": HG, **case}
    moved = {name: case.pop(name) for name in ("e", "inclination") if name in case}
    half = case["size"] // 2
    case["disk"] = {**DISK, **moved, "x_center": float(half), "y_center": float(half)}
    case["disk"]["omega"] = case["disk"].pop("omega")  # GRaTeR-JAX goes by the order
    case["misc"] = {
        "distance": 72.8, "pxInArcsec": 0.01414, "nx": case["size"], "ny": case["size"],
        "flux_scaling": 1e6,
    }  # fmt: skip
    return case


def psf_image():
    x = np.arange(31) - 15.0
    image = np.exp(-0.5 * (x[:, None] ** 2 + x[None, :] ** 2) / 1.7**2)
    return image / image.sum()


def data(case):
    shape = (case["size"], case["size"])
    return np.random.default_rng(0).normal(1.0, 0.3, shape), np.full(shape, 0.3)


def ours(case, setting):
    """A function without arguments that renders or differentiates, and the image.

    A spline is differentiated in the values at its knots, as in a fit; the converged image that
    GRaTeR-JAX's is compared with has its own curve through them.
    """
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    import grater
    import pytreefit

    misc, disk = case["misc"], case["disk"]
    fitted = grater.from_grater_jax(disk, case["spf"], misc, spline=case.get("spline", "free"))
    grid = grater.Grid(
        (misc["ny"], misc["nx"]),
        misc["pxInArcsec"],
        misc["distance"],
        (disk["x_center"], disk["y_center"]),
    )
    psf = grater.ImagePSF(psf_image()) if case["psf"] else None
    scene = grater.Scene(fitted, grid=grid, psf=psf, accuracy=OURS[setting])
    image, error = (jnp.asarray(a, float) for a in data(case))
    moves = jax.tree.map(eqx.is_inexact_array, fitted)
    if isinstance(fitted.phase, grater.SplinePhase):
        moves = eqx.tree_at(lambda m: m.phase.knots, moves, False)
    moving, rest = eqx.partition(fitted, moves)

    @pytreefit.jit
    def value_and_gradient(moving, scene):
        def log_likelihood(moving):
            model = eqx.tree_at(lambda s: s.disk, scene, eqx.combine(moving, rest)).image()
            return -0.5 * jnp.sum(((model - image) / error) ** 2)

        return jax.value_and_grad(log_likelihood)(moving)

    if case["gradient"]:
        return lambda: jax.block_until_ready(value_and_gradient(moving, scene)), scene.image
    return lambda: jax.block_until_ready(scene.image()), scene.image


def grater_jax(case, setting):
    import jax
    import jax.numpy as jnp
    from grater_jax.disk_model import SLD_utils as parts
    from grater_jax.disk_model.objective_functions import objective_grad, objective_model
    from grater_jax.disk_model.SLD_ojax import ScatteredLightDisk

    spf = dict(case["spf"])
    kind = parts.HenyeyGreenstein_SPF
    if "knot_values" in spf:
        spf["knot_values"] = jnp.array(spf["knot_values"])
        kind = parts.InterpolatedUnivariateSpline_SPF
    psf = None
    if case["psf"]:
        psf = parts.EMP_PSF
        psf.img = jnp.asarray(psf_image())
    misc = {**case["misc"], "halfNbSlices": SLICES[setting]}
    common = (
        case["disk"], spf, dict(psf.params) if psf else None, misc, ScatteredLightDisk,
        parts.DustEllipticalDistribution2PowerLaws, kind, psf,
    )  # fmt: skip

    def image():
        return objective_model(*common)

    target, error = (jnp.asarray(a) for a in data(case))
    if case["gradient"]:
        return lambda: jax.block_until_ready(objective_grad(*common, target, error)), image
    return lambda: jax.block_until_ready(image()), image


def vip(case, setting):
    import contextlib
    import io

    from vip_hci.fm.scattered_light_disk import ScatteredLightDisk

    disk, misc = case["disk"], case["misc"]
    with contextlib.redirect_stdout(io.StringIO()):
        model = ScatteredLightDisk(
            nx=misc["nx"], ny=misc["ny"], distance=misc["distance"],
            pxInArcsec=misc["pxInArcsec"], itilt=disk["inclination"], pa=disk["position_angle"],
            omega=disk["omega"], xdo=0.0, ydo=0.0,
            density_dico={
                "name": "2PowerLaws", "a": disk["sma"], "ain": disk["alpha_in"],
                "aout": disk["alpha_out"], "e": disk["e"], "ksi0": disk["ksi0"],
                "gamma": disk["gamma"], "beta": disk["beta"],
            },
            spf_dico={"name": "HG", "g": case["spf"]["g"], "polar": False},
        )  # fmt: skip

    def image():
        with contextlib.redirect_stdout(io.StringIO()):
            return model.compute_scattered_light(halfNbSlices=SLICES[setting])

    return image, image


def skyscapes(case, setting):
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from skyscapes.disk import GraterDisk

    disk, misc = case["disk"], case["misc"]
    names = {"sma": "sma_AU", "ksi0": "ksi0_AU"}
    fields = {
        names.get(name, name): jnp.asarray(disk[name])
        for name in ("sma", "alpha_in", "alpha_out", "ksi0", "gamma", "beta")
    }
    model = GraterDisk(
        **fields, rmin_AU=jnp.asarray(1.0), rmax_AU=jnp.asarray(200.0),
        wavelengths_nm=jnp.linspace(400.0, 800.0, 4), g_HG_grid=jnp.full(4, case["spf"]["g"]),
        Ag_grid=jnp.ones(4), nx=misc["nx"], ny=misc["ny"],
        pixel_scale_arcsec=misc["pxInArcsec"], dist_pc=misc["distance"],
        n_slices_los=2 * SLICES[setting] - 1,
    )  # fmt: skip
    # its angle is that of the major axis from the first image axis to the second
    angles = jnp.asarray(disk["inclination"]), jnp.asarray(270.0 + disk["position_angle"])
    render = eqx.filter_jit(lambda m: m.surface_brightness(jnp.asarray(600.0), 0.0, *angles))
    return lambda: jax.block_until_ready(render(model)), lambda: render(model)


CODES = {"ours": ours, "grater-jax": grater_jax, "vip": vip, "skyscapes": skyscapes}


def can(code, case):
    """Whether a code has what a case asks for."""
    if code == "vip":
        return not case["gradient"] and not case["psf"] and case["bits"] == 64
    if code == "skyscapes":
        plain = not case["gradient"] and not case["psf"] and case["bits"] == 32
        return plain and case["disk"]["e"] == 0 and case["disk"]["inclination"] < 89.0
    return True


def answers(code):
    """What a worker does when it is asked."""
    if code == "ours":
        # it gains nothing by a second core, but two threads of XLA may wait for each other on one
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    function = lambda: None  # noqa: E731

    def answer(case=None, setting=None, target=None):
        nonlocal function
        if case is None:
            return {"seconds": common.turn(function)}
        function, image = CODES[code](case, setting)
        began = time.perf_counter()
        function()
        seconds = time.perf_counter() - began
        np.save(target, np.asarray(image(), float))
        return {"seconds": seconds}

    return answer


def worker(python, code, bits):
    command = [python, __file__, "--serve", code]
    return common.Worker(command, rival=code != "ours", JAX_ENABLE_X64=str(int(bits == 64)))


def rendered(python, code, case, setting, folder):
    """A worker, the seconds of its first call, and its image."""
    target = str(folder / "image.npy")
    started = worker(python, code, 64 if setting == "truth" else case["bits"])
    answer = started.ask(case=case, setting=setting, target=target)
    if "failed" in answer:
        started.stop()
        raise RuntimeError(answer["failed"])
    return started, answer["seconds"], np.load(target)


def difference(image, truth, case):
    """Largest error in units of the peak, over the pixels that a code computes; then without what
    a factor on the whole image would mend."""
    half = case["size"] // 2
    used = image > 0
    used[half - 2 : half + 3, half - 2 : half + 3] = False
    if case["psf"]:  # codes differ in what light they take from beyond the image
        used[:16], used[-16:], used[:, :16], used[:, -16:] = False, False, False, False
    scale = np.sum(image[used] * truth[used]) / np.sum(image[used] ** 2)
    errors = (np.max(np.abs(k * image - truth)[used]) / np.max(truth[used]) for k in (1.0, scale))
    return tuple(float(error) for error in errors)


def measure(pythons, name, runs, folder):
    """A row for each code and setting that can do the case."""
    case, truths, rows, workers, times = full(CASES[name]), {}, [], [], []
    for spline in ("free", "tabulated"):
        wanted = {**case, "gradient": False, "spline": spline}
        started, _, truths[spline] = rendered(pythons["ours"], "ours", wanted, "truth", folder)
        started.stop()
    for code in filter(lambda code: can(code, case), CODES):
        for setting in SLICES if code != "ours" else [s for s in OURS if s != "truth"]:
            try:
                started, first, image = rendered(pythons[code], code, case, setting, folder)
            except RuntimeError as reason:
                print(f"{name}, {code}, {setting}: {reason}", flush=True)
                continue
            truth = truths["free" if code == "ours" else "tabulated"]
            error, shape = difference(image, truth, case)
            rows.append({
                "case": name,
                "code": LABELS.get(code, code),
                "setting": f"accuracy {setting}" if code == "ours" else f"{setting} slices",
                "first, s": first,
                # units and the normalisation of the phase function are their own
                "error": None if code in ("vip", "skyscapes") else error,
                "error but for a factor": shape,
            })  # fmt: skip
            workers.append(started)
    for _ in range(runs):
        times.append([1e3 * started.ask()["seconds"] for started in workers])
    for started, row, own in zip(workers, rows, np.transpose(times), strict=True):
        started.stop()
        low, row["ms"], high = np.percentile(own, [25, 50, 75]).tolist()
        row["quartiles, ms"] = [low, high]
        print(row, flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    args = parser.parse_args()
    pythons = {code: common.environment(args.folder, code, what) for code, what in RIVALS.items()}
    pythons["ours"] = sys.executable
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.cases:
            rows += measure(pythons, name, args.runs, pathlib.Path(folder))
    common.record("disks", rows, rounds=args.runs)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        common.serve(answers(sys.argv[2]))
    else:
        main()
