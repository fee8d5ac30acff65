"""Disk images side by side with GRaTeR-JAX, VIP and skyscapes: time, and error at that time.

    python benchmarks/disks.py FOLDER [--output FOLDER] [--runs 15]
    python benchmarks/disks.py FOLDER --batches

The rivals are installed into environments of their own in FOLDER, unless they are there already.
Every code runs in a process of its own, all kept alive; of each case they take turns, so that all
of them see the same machine: in every round 0.2 s of calls that are not timed, and then 50 ms of
calls, or one that takes longer, of which the mean counts. This package gets one core, the others
get all. Times are medians with quartiles; the first call, compilation included, is told beside
them. Errors are the largest difference to a converged image over the pixels that a code computes,
relative to the peak: as the image is, and after it has been multiplied with the factor that suits
it best (a flux that is fitted does that).
"""

# the rivals live in environments of their own
# pyright: reportMissingImports=false

import argparse
import functools
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

RIVALS = {"grater-jax": "grater-jax==0.3.0", "vip": "vip-hci", "skyscapes": "skyscapes==2.0.0"}
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
OURS = {"2e-3": 2e-3, "1e-4": 1e-4, "1e-6": 1e-6}
# seconds of calls, at least one, in each turn, and before it: after the others' turns the caches
# are theirs, and a core that has rested takes up to twice the time for its first 0.1 s
TURN, WARM = 0.05, 0.2
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


def ours(case, setting, spline="free"):
    """A function without arguments that renders or differentiates, and the image.

    A spline is `grater.SplinePhase` and is differentiated in the values at its knots, as in a fit;
    "tabulated" is GRaTeR-JAX's own curve through them.
    """
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    import grater
    import pytreefit

    misc, disk = case["misc"], case["disk"]
    grid = grater.Grid(
        (misc["ny"], misc["nx"]),
        misc["pxInArcsec"],
        misc["distance"],
        (disk["x_center"], disk["y_center"]),
    )
    psf = grater.ImagePSF(psf_image()) if case["psf"] else None
    spf = case["spf"]
    fitted = grater.from_grater_jax(disk, spf, misc, spline=spline)
    # of a gradient it is known by which rule, as in a fit of a disk of which something is known
    rule = {60.0: "surfaces", 88.0: "segments"}[disk["inclination"]]
    scene = grater.Scene(
        fitted,
        grid=grid,
        psf=psf,
        accuracy=OURS[setting],
        nodes_on=rule if case["gradient"] else "auto",
    )
    image, error = (jnp.asarray(a, float) for a in data(case))
    moves = jax.tree.map(eqx.is_inexact_array, fitted)
    if isinstance(fitted.phase, grater.SplinePhase):
        moves = eqx.tree_at(lambda m: m.phase.knots, moves, False)
    moving, rest = eqx.partition(fitted, moves)

    @functools.partial(pytreefit.jit, threads=False)
    def value_and_gradient(moving, scene):
        def log_likelihood(moving):
            residual = (eqx.tree_at(lambda s: s.disk, scene, eqx.combine(moving, rest)).image()
                        - image) / error  # fmt: skip
            return -0.5 * jnp.sum(residual**2)

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


def serve(code):
    """Answer the requests of the parent, one line each."""
    if code == "ours":
        # it gains nothing by a second core, but two threads of XLA may wait for each other on one
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    function, lines = (lambda: None), sys.stdout
    sys.stdout = sys.stderr  # what a code prints is no answer
    for line in sys.stdin:
        request = json.loads(line)
        answer = None
        try:
            if "case" in request:
                function, image = CODES[code](request["case"], request["setting"])
                began = time.perf_counter()
                function()
                answer = time.perf_counter() - began
                np.save(request["image"], np.asarray(image(), float))
            else:
                called_for(WARM, function)
                answer = 1e3 * called_for(TURN, function)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"[:200]
        print(json.dumps(answer), file=lines, flush=True)


def called_for(least, function):
    """Mean time of a call, in seconds, of as many as take some time together."""
    began, calls, taken = time.perf_counter(), 0, 0.0
    while taken < least:
        function()
        calls += 1
        taken = time.perf_counter() - began
    return taken / calls


class Worker:
    def __init__(self, python, code, bits):
        # a path set for this package is none of the rivals' business
        environment = {k: v for k, v in os.environ.items() if code == "ours" or k != "PYTHONPATH"}
        environment["JAX_ENABLE_X64"] = str(int(bits == 64))
        self.process = subprocess.Popen(
            [python, "-P", __file__, "--serve", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert self.process.stdin
        assert self.process.stdout
        self.requests, self.answers = self.process.stdin, self.process.stdout

    def ask(self, **request):
        self.requests.write(json.dumps(request) + "\n")
        self.requests.flush()
        return json.loads(self.answers.readline())

    def stop(self):
        self.requests.close()
        self.process.wait()


def environments(folder):
    """The interpreters of the rivals."""
    pythons = {"ours": sys.executable}
    for code, requirement in RIVALS.items():
        python = folder / code / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder / code], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", requirement], check=True)
        pythons[code] = str(python)
    return pythons


def converged(case, spline):
    """The image that others are compared with, by this package in double precision."""
    code = (
        "import sys, json, numpy as np; sys.path.insert(0, sys.argv[1]); import disks;"
        "disks.OURS['truth'] = 1e-8; case = json.loads(sys.argv[2]);"
        "case['gradient'] = False; image = disks.ours(case, 'truth', sys.argv[4])[1]();"
        "np.save(sys.argv[3], np.asarray(image))"
    )
    target = pathlib.Path(case["folder"], "truth.npy")
    here = str(pathlib.Path(__file__).parent)
    subprocess.run(
        [sys.executable, "-c", code, here, json.dumps(case), str(target), spline],
        env={**os.environ, "JAX_ENABLE_X64": "1"},
        check=True,
    )
    return np.load(target)


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


def measure(pythons, name, case, runs, folder):
    """Rows of one case: code, setting, first call, quartiles of the time, error."""
    case = {**full(case), "folder": str(folder)}
    truths = {spline: converged(case, spline) for spline in ("free", "tabulated")}
    workers = {}
    rows = {}
    for code in CODES:
        if not can(code, case):
            continue
        settings = OURS if code == "ours" else SLICES
        for setting in settings:
            worker = Worker(pythons[code], code, case["bits"])
            target = str(folder / f"{code}.npy")
            first = worker.ask(case=case, setting=setting, image=target)
            if isinstance(first, str):
                print(f"{name}, {code}, {setting}: {first}", flush=True)
                worker.stop()
                continue
            workers[code, setting] = worker
            truth = truths["free" if code == "ours" else "tabulated"]
            error, shape = difference(np.load(target), truth, case)
            # its units and the normalisation of its phase function are its own
            error = None if code in ("vip", "skyscapes") else error
            rows[code, setting] = {"first": first, "error": error, "shape": shape, "ms": []}
    for _ in range(runs):
        for key, worker in workers.items():
            rows[key]["ms"].append(worker.ask(run=True))
    for worker in workers.values():
        worker.stop()
    return {f"{code} {setting}": row for (code, setting), row in rows.items()}


def table(results):
    """The results as Markdown."""
    label = {"grater-jax": "GRaTeR-JAX", "vip": "VIP", "skyscapes": "skyscapes"}
    lines = [
        "| case | code | median ms (quartiles) | first call, s | error | but for a factor |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in results.items():
        for key, row in rows.items():
            code, setting = key.split()
            what = (
                f"this package, accuracy {setting}"
                if code == "ours"
                else f"{label[code]}, {setting} slices"
            )
            low, middle, high = np.percentile(row["ms"], [25, 50, 75])
            lines.append(
                f"| {name} | {what} | {middle:.2f} ({low:.2f}-{high:.2f}) | {row['first']:.1f} | "
                f"{'' if row['error'] is None else format(row['error'], '.1e')} | "
                f"{row['shape']:.1e} |"
            )
    return "\n".join(lines) + "\n"


def plot(results, path):
    """Error against time, of the image and of its gradient."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
    names = {
        "ours": "this package",
        "grater-jax": "GRaTeR-JAX",
        "vip": "VIP (double)",
        "skyscapes": "skyscapes (round)",
    }
    cases = {
        0: {"image": ("ours", "grater-jax"), "image, double": ("vip",),
            "image, round disk": ("skyscapes",)},
        1: {"gradient": ("ours", "grater-jax")},
    }  # fmt: skip
    colors = dict(zip(names, plt.rcParams["axes.prop_cycle"].by_key()["color"], strict=False))
    for column, wanted in cases.items():
        for case, codes in wanted.items():
            for code in codes:
                rows = [r for k, r in results.get(case, {}).items() if k.split()[0] == code]
                axes[column].loglog(
                    [np.median(r["ms"]) for r in rows],
                    [r["shape"] for r in rows],
                    "o-",
                    color=colors[code],
                    label=names[code],
                )
        axes[column].set_xlabel("ms")
        axes[column].set_title(("image", "log-likelihood and gradient")[column])
    axes[0].set_ylabel("largest error / peak, but for a factor")
    axes[0].legend()
    figure.savefig(path, dpi=120)


def batches(runs):
    """Images, and values with gradients, of a hundred different disks per second, on all cores."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    import pytreefit

    some = np.random.default_rng(0)
    values = {
        "disk.inclination": some.uniform(50.0, 70.0, 100),
        "disk.radial.alpha_in": some.uniform(4.0, 8.0, 100),
        "disk.vertical.scale_height": some.uniform(2.0, 3.0, 100),
    }
    case = full({"gradient": True})
    image, error = (jnp.asarray(a, float) for a in data(case))

    def gradient(scene):
        def log_likelihood(disk):
            model = eqx.tree_at(lambda s: s.disk, scene, disk).image()
            return -0.5 * jnp.sum(((model - image) / error) ** 2)

        return eqx.filter_value_and_grad(log_likelihood)(scene.disk)

    def picture(scene):
        return scene.image()

    for setting in OURS:
        scenes = pytreefit.vary(ours(case, setting)[1].__self__, values)
        for name, function in (("images", picture), ("gradients", gradient)):
            seconds = []
            for _ in range(runs + 1):
                began = time.perf_counter()
                jax.block_until_ready(pytreefit.map_models(function, scenes))
                seconds.append(time.perf_counter() - began)
            rates = 100.0 / np.percentile(seconds[1:], [75, 50, 25])
            print("accuracy {}: {} per second {:.0f}, {:.0f}, {:.0f}".format(setting, name, *rates))


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--batches", action="store_true", help="only a hundred disks at once")
    args = parser.parse_args()
    if args.batches:
        batches(args.runs)
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    args.output.mkdir(parents=True, exist_ok=True)
    pythons = environments(args.folder.absolute())
    results = {}
    for name in args.cases:
        results[name] = measure(pythons, name, CASES[name], args.runs, args.folder.absolute())
        print(table({name: results[name]}), flush=True)
    (args.output / "disk_speed.inc").write_text(table(results))
    plot(results, args.output / "disk_speed.png")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        main()
