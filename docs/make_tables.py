"""Tables and figures of the pages, from what the benchmarks wrote.

Sphinx's configuration calls `make` before it reads the pages; they include ``_generated/*.md``.
"""

import json
import pathlib

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

HERE = pathlib.Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"
OUTPUT = HERE / "_generated"
OURS = "this package"


def result(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


def when(found):
    """When, with which version and on what, in italics under a table."""
    machine = found["machine"]
    said = [f"Measured on {found['date']}"]
    if "jax" in found["versions"]:
        said.append(f"JAX {found['versions']['jax']}")
    if "cores" in machine:
        said.append(f"{machine['cores']} core{'' if machine['cores'] == 1 else 's'}")
    if "processor" in machine:
        said.append(machine["processor"])
    said.append(f"commit {found['commit']}")
    return f"\n*{', '.join(said)}.*\n"


def table(head, rows, found):
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n" + when(found)


def number(value):
    """Three digits, without an exponent."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def disks():
    """Time and error of images, ours at the default accuracy and GRaTeR-JAX's default."""
    found = result("disks")
    by_case = {}
    for row in found["rows"]:
        by_case.setdefault(row["case"], {})[row["code"], row["setting"]] = row
    rows = []
    for case, codes in by_case.items():
        ours = codes[OURS, "accuracy 1e-4"]
        theirs = codes["GRaTeR-JAX", "49 slices"]
        rows.append([
            case,
            number(ours["ms"]),
            f"{ours['error']:.0e}",
            number(theirs["ms"]),
            f"{theirs['error']:.0e}",
            number(theirs["ms"] / ours["ms"]),
        ])  # fmt: skip
    head = ["", "here, ms", "error", "GRaTeR-JAX, ms", "error", "ratio of times"]
    return table(head, rows, found)


def disks_figure(path):
    """Error against time of an image and of its gradient."""
    rows = result("disks")["rows"]
    wanted = {
        "image": {OURS: "image", "GRaTeR-JAX": "image", "VIP": "image, double",
                  "skyscapes": "image, round disk"},
        "gradient": {OURS: "gradient", "GRaTeR-JAX": "gradient"},
    }  # fmt: skip
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for axis, (title, codes) in zip(axes, wanted.items(), strict=True):
        for color, (code, case) in enumerate(codes.items()):
            line = [row for row in rows if (row["code"], row["case"]) == (code, case)]
            axis.loglog(
                [row["ms"] for row in line],
                [row["error but for a factor"] for row in line],
                "o-",
                color=f"C{color}",
                label=code,
            )
        axis.set(title=title, xlabel="ms")
    axes[0].set_ylabel("largest error / peak, but for a factor")
    axes[0].legend()
    figure.savefig(path)
    plt.close(figure)


def hr4796a():
    found = result("hr4796a")
    rows = [[r["what"], r[OURS] or "", r["GRaTeR-JAX and emcee"] or ""] for r in found["rows"]]
    return table(["", OURS, "GRaTeR-JAX and emcee"], rows, found)


def kepler_rows():
    """Those of curves that are named by their numbers of points."""
    rows = result("solvers")["rows"]
    return [row for row in rows if row.get("curve", "0").isdigit()]


def solvers():
    """Value with gradient of each code at each number of points, in ms."""
    found, all_rows = result("solvers"), kepler_rows()
    codes, points = (list(dict.fromkeys(r[k] for r in all_rows)) for k in ("code", "points"))
    by_place = {(row["code"], row["points"]): row for row in all_rows}
    rows = []
    for code in codes:
        cells = [by_place.get((code, n), {}) for n in points]
        rows.append([code, *(number(cell.get("gradient, ms")) for cell in cells)])
    return table(["gradient, ms", *(f"{n:,} points" for n in points)], rows, found)


def solvers_figure(path):
    """Time of a gradient against the number of points."""
    lines = {}
    for row in kepler_rows():
        if "gradient, ms" in row and row["code"] != f"{OURS}, auto":
            lines.setdefault(row["code"], []).append((row["points"], row["gradient, ms"]))
    figure, axis = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
    for code, places in lines.items():
        axis.loglog(*np.transpose(places), "o-", label=code)
    axis.set(xlabel="points of Kepler's long cadence", ylabel="value and gradient, ms")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right center", frameon=False)
    figure.savefig(path)
    plt.close(figure)


def accuracy():
    """The largest error of each reference image at each setting."""
    found = result("accuracy")
    settings = sorted({row["accuracy"] for row in found["rows"]}, reverse=True)
    by_place = {
        (row["image"], row["accuracy"]): row["error"]
        for row in found["rows"]
        if row.get("quantile", 1.0) == 1.0 and "error" in row
    }
    rows = [
        [image, *(f"{by_place[image, setting]:.0e}" for setting in settings)]
        for image in dict.fromkeys(image for image, _ in by_place)
    ]
    return table(["", *(f"`accuracy={setting:g}`" for setting in settings)], rows, found)


def coverage():
    """How often intervals contain the truth, of all parameters together."""
    names = {
        "spline": "disk, spline phase function",
        "polarized": "disk, polarised Henyey-Greenstein",
        "stars": "spotted star",
    }
    rows = []
    for name, label in names.items():
        found = result(f"coverage_{name}")
        weights = [row["of"] for row in found["rows"]]
        shares = (
            np.average([row[f"inside {level} %"] for row in found["rows"]], weights=weights)
            for level in (68, 95)
        )
        rows.append([label, *(f"{100 * share:.1f} %" for share in shares), sum(weights)])
    head = ["", "inside 68 %", "inside 95 %", "intervals"]
    return table(head, rows, found)


def star_errors():
    """How often the errors of surveyed stars hold the truth."""
    found = result("many_stars_process")
    rows = [
        [
            f"`{row['parameter']}`",
            row["stars with an error"],
            *(
                f"{100 * row[f'within {k} errors{alone}']:.0f} %"
                for alone in ("", ", curvature alone")
                for k in (1, 2)
            ),
            *(row[f"farther than 4{alone}"] for alone in ("", ", curvature alone")),
        ]
        for row in found["rows"][0]["errors"]
    ]
    of = "curvature of the best fit alone"
    head = ["", "stars", "within one error", "within two", f"{of}: one", "two"]
    return table([*head, "farther than four", f"{of}: four"], rows, found)


def kepler63():
    """Means and standard deviations."""
    found = result("kepler63_posterior")
    rows = [
        [r["parameter"], f"{r['mean']:.4g} ± {r['standard deviation']:.1g} {r.get('unit', '')}"]
        for r in found["rows"]
        if r["parameter"] != "inc"  # the inclination in radians
    ]
    return table(["", "mean and standard deviation"], rows, found)


def published():
    """Published numbers of real disks and stars beside ours."""
    if not (RESULTS / "published.json").exists():
        return "*Not measured yet.*\n"
    found = result("published")
    rows = []
    for row in found["rows"]:
        digits = max(0, 1 - int(np.floor(np.log10(row["error"]))))
        here = f"{row['here']:.{digits}f} ± {row['error']:.{digits}f}"
        rows.append([row["name"], row["quantity"], here, row["published"], row["source"]])
    return table(["", "", "here", "published", "source"], rows, found)


def channels():
    """Covariances of simulated channels beside the kernels, in Monte-Carlo errors."""
    found, rows = result("channels"), {}
    for row in found["rows"]:
        rows.setdefault(row["channels"].replace(" | ", ", "), []).append(row)
    angles = list(dict.fromkeys(row["inclination"] for row in found["rows"]))
    cells = [
        [pair, *(f"{row['largest, Monte-Carlo errors']:.1f}" for row in each)]
        for pair, each in rows.items()
    ]
    head = [f"inclination {np.rad2deg(angle):.0f}°" for angle in angles]
    return table(["largest deviation, Monte-Carlo errors", *head], cells, found)


def planets():
    """Semi-amplitudes among the activity of simulated stars, of several models."""
    if not (RESULTS / "planets.json").exists():
        return "*Not measured yet.*\n"
    found = result("planets")
    names = {
        "joint": "photometry and velocities, `ChannelSolver`",
        "derivative": "photometry and velocities, quasi-periodic and its derivative",
        "periodic": "velocities, quasi-periodic",
        "white": "velocities, white noise",
    }
    columns = ("scatter of K / true K", "median of stated errors / true K")
    shares = ("inside 68 %", "inside 95 %")
    rows = [
        [
            names[row["model"]],
            f"{row['mean of K / true K - 1']:+.3f} ± {row['its error']:.3f}",
            *(f"{row[key]:.2f}" for key in columns),
            *(f"{100 * row[key]:.0f} %" for key in shares),
        ]
        for row in found["planets"]
    ]
    what = f"model, {found['planets'][0]['stars']} stars"
    head = [what, "mean of K / true K − 1", "scatter of K / true K", "stated error", *shares]
    return table(head, rows, found)


def planet_stars():
    """How often the parameters of these stars are covered, and what velocities add."""
    if not (RESULTS / "planets.json").exists():
        return "*Not measured yet.*\n"
    found = result("planets")
    shares = ("inside 68 %", "inside 95 %")
    width = "median width, joint / photometry"
    rows = [
        [
            f"`{row['parameter']}`",
            *(f"{100 * row[key]:.0f} %" for key in shares),
            *(f"{100 * row[f'photometry, {k}']:.0f} %" if width in row else "" for k in shares),
            f"{row[width]:.2f}" if width in row else "",
        ]
        for row in found["parameters"]
    ]
    alone = [f"{share}, photometry alone" for share in shares]
    return table(["parameter", *shares, *alone, "width / that of photometry alone"], rows, found)


def temperatures():
    """Temperatures of simulated spots, from two bands and from one."""
    if not (RESULTS / "temperatures.json").exists():
        return "*Not measured yet.*\n"
    found = result("temperatures")
    rows = [
        [
            row["bands"],
            f"{row['median standard deviation, K']:.0f}",
            *(f"{100 * row[k]:.0f} %" if k in row else "" for k in ("inside 68 %", "inside 95 %")),
        ]
        for row in found["summary"]
    ]
    what = f"bands, {found['summary'][0]['stars']} stars"
    head = [what, "standard deviation of the temperature, K", "inside 68 %", "inside 95 %"]
    return table(head, rows, found)


def agreement():
    """Differences to images of other codes, those of VIP with its cut-off farthest out."""
    found = result("agreement")
    slices = [49, 199, 799]
    rows = {}
    for row in found["rows"]:  # later rows of a disk are those with a wider cut-off
        label = {"vip": "VIP", "grater-jax": "GRaTeR-JAX"}[row["code"]], row["disk"]
        rows.setdefault(label, {})[row["slices"]] = f"{row['difference']:.0e}"
    lines = [[*label, *(cells[n] for n in slices)] for label, cells in rows.items()]
    return table(["code", "disk", *(f"{n} slices" for n in slices)], lines, found)


def side_by_side():
    """First calls, cold and in a second process, if they have been measured."""
    if not (RESULTS / "side_by_side.json").exists():
        return "*Not measured yet.*\n"
    found = result("side_by_side")
    rows = [
        [row["case"], number(row["here, ms"] / 1e3)]
        for row in found["rows"]
        if "ratio" in row and row["case"].startswith(("first", "import"))
    ]
    return table(["", "s"], rows, found)


def periods():
    """How often periods are right on simulated stars, in percent."""
    if not (RESULTS / "periods.json").exists():
        return "*Not measured yet.*\n"
    found = result("periods")
    columns = {
        "stars": "stars",
        "right": "right",
        "called good": "called good",
        "right of those called good": "of these right",
        "called good of the easy": "called good where P < half the baseline, S/N >= 2",
        "known of the easy": "of these known to who knows all but P",
        "Lomb-Scargle right": "Lomb-Scargle right",
        "autocorrelation right": "autocorrelation right",
        "both agree": "these two agree",
        "right where both agree": "of these right",
    }
    rows = [
        [row["kind"], *("" if row.get(key) is None else row[key] for key in columns)]
        for row in found["rows"]
    ]
    return table(["observations", *columns.values()], rows, found)


def posteriors():
    """Times and differences of posteriors of real stars."""
    if not (RESULTS / "posteriors.json").exists():
        return "*Not measured yet.*\n"
    found = result("posteriors")
    columns = {
        "points": "points",
        "from the file to the best fit, s": "file to best fit, s",
        "posterior, s": "posterior, s",
        "evaluations": "evaluations",
        "effective": "effective",
        "Pareto k": "Pareto k",
        "keys differ by, sigma": "two keys differ by, σ",
        "NUTS, s": "NUTS, s",
        "NUTS differs by, sigma": "NUTS differs by, σ",
    }
    rows = [[row["star"], *(number(row.get(key)) for key in columns)] for row in found["rows"]]
    return table(["star", *columns.values()], rows, found)


def checks():
    """How many stars are flagged, right and wrong ones."""
    if not (RESULTS / "checks.json").exists():
        return "*Not measured yet.*\n"
    found = result("checks")
    columns = {
        "stars": "stars",
        "flagged": "flagged by `check`",
        "band ahead by 2 errors": "band ahead by 2 errors in `compare`",
        "uniform model's inclination inside 2 errors": "uniform's inclination inside 2 errors",
        "inclination inside 68 %": "band's inside 68 %",
        "inclination inside 95 %": "band's inside 95 %",
    }
    rows = [
        [row["spots"], row["simulated"], *(row.get(key, "") for key in columns)]
        for row in found["summary"]
    ]
    return table(["spots", "simulated as", *columns.values()], rows, found)


def field_psf():
    """Time and error of a hundred PSFs over a field."""
    found = result("field_psf")
    columns = {
        "terms": "convolutions",
        "stated error": "stated error",
        "error": "error",
        "from linear": "from linear",
    }
    rows = [
        [
            row["case"],
            row["terms"],
            *(f"{row[key]:.0e}" if row[key] else "" for key in list(columns)[1:]),
            number(row["ms"]),
            number(row["gradient, ms"]),
        ]
        for row in found["rows"]
    ]
    what = f"{found['psfs']} PSFs, {found['side']} x {found['side']} pixels"
    return table([what, *columns.values(), "image, ms", "gradient, ms"], rows, found)


def stokes():
    """Polarised rings near the star, in percent of the convolved intensity."""
    found = result("stokes")
    columns = {
        "peak": "peak of Q_phi, % of the scalar's",
        "sum": "sum of Q_phi, % of the scalar's",
        "difference": "largest difference, % of the scalar's peak",
        "U_phi": "largest U_phi, % of Q_phi's peak",
    }
    rows = [
        [
            f"{row['inclination']}°",
            f"{row['distance, FWHM']} FWHM",
            *(number(100 * row[key]) for key in columns),
        ]
        for row in found["rows"]
    ]
    return table(["inclination", "radius", *columns.values()], rows, found)


def adi():
    """Offsets of fits to sequences of frames, in scatters of a draw."""
    found, rows = result("adi_rank"), []
    for row in [*found["rows"], *result("adi")["rows"]]:
        every = "all" if len(rows) < len(found["rows"]) else "not all"
        mean, error = (row[key] / row["scatter"] for key in ("mean offset", "its standard error"))
        ratio = row["scatter"] / row["usual error"]
        offset = f"{mean:+.2f} ± {error:.2f}"
        rows.append([every, row["method"], f"`{row['parameter']}`", offset, f"{ratio:.2f}"])
    head = ["speckles learned", "fitted", "", "mean offset / scatter", "scatter / usual error"]
    return table(head, rows, found)


def correlated():
    """Simulated images: shares of true values within one standard deviation."""
    found = result("correlated")
    rows = [
        [f"fitted as {row['noise']}", f"{100 * row['all']:.1f} %", row["images"]]
        for row in found["coverage"]
    ]
    return table(["noise", "inside 68 %", "images"], rows, found)


def correlated_disks():
    """Real disks: widths under both noise models, and how far halves of the pixels differ."""
    found, rows = result("correlated"), []
    for row in found["rows"]:
        widths = (f"{row[f'{name}, width']:.2g}" for name in ("inclination", "position_angle"))
        apart = [value for key, value in row.items() if key.endswith("halves")]
        rms = np.sqrt(np.mean(np.square(apart)))
        near = f"{row['neighbours correlate']:.2f}"
        disk = row["name"].upper().replace("HR4796A", "HR 4796 A").replace("HD", "HD ")
        rows.append([disk, row["noise"], near, *widths, f"{rms:.1f}"])
    head = ["disk", "noise", "neighbours correlate", "inclination ±, deg", "position angle ±, deg"]
    return table([*head, "halves differ by, σ"], rows, found)


def colors():
    """Colours of simulated images in three bands: their stated and their real scatter."""
    found, rows = result("colors"), []
    for row in found["rows"]:
        for at, color in enumerate(row["colours"]):
            stated, observed = (f"{row[f'{kind}, mag'][at]:.4f}" for kind in ("stated", "observed"))
            inside = f"{100 * row['within 1 sigma'][at]:.0f} %"
            offset = f"{row['mean offset, sigma'][at]:+.2f}"
            rows.append([row["fit"], color, stated, observed, inside, offset])
    head = ["fit", "colour", "stated ±, mag", "scatter, mag", "inside 68 %", "mean offset, σ"]
    return table(head, rows, found)


def surveys():
    """Surveys that were killed twice, beside one that was not."""
    found, rows = result("surveys"), []
    for row in found["rows"]:
        rate = row["a minute and worker of dask"]
        memory = row["memory of the largest worker, GB"]
        rows.append([
            f"{row['targets']}, {row['points']:,} points, starts: {row['starts']}",
            " / ".join(str(row[name]) for name in ("lost", "twice", "rows that differ")),
            number(row["a minute and core"]),
            number(rate),
            f"{memory[0]:.1f} to {max(memory):.1f}",
            number(1e6 / rate / 60 / 24),
        ])  # fmt: skip
    head = ["survey", "lost / twice / other rows", "a minute and core, threads"]
    head += ["a minute and worker of dask", "GB of a worker", "a million: days of a core"]
    return table(head, rows, found)


def explorer():
    """From a slider's new value to the new picture."""
    found, rows = result("explorer"), []
    for row in found["rows"]:
        times = (f"{row[name]:.0f}" for name in ("median, ms", "9 of 10 within, ms"))
        rows.append([f"{row['page']}, {row['what']}", *times])
    return table(["page", "median, ms", "9 of 10 within, ms"], rows, found)


def command_stars():
    """What `spotgp fit` finds in real light curves without options."""
    return _commands("stars")


def command_disks():
    """What `grater fit` finds in real images without options."""
    return _commands("disks")


def _commands(what):
    found = result(f"commands_{what}")
    return table(
        list(found["rows"][0]), [[str(v) for v in row.values()] for row in found["rows"]], found
    )


def calibration_figure(path):
    """Where the truth is in the posteriors of simulated stars, for each parameter."""
    _ranks(path, "calibration", "stars")


def calibration_disks_figure(path):
    """The same of simulated disks."""
    _ranks(path, "calibration_disks", "disks")


def _ranks(path, file, what):
    found = result(file)
    names, number = list(found["probability"]), len(found["rows"])
    figure, axes = plt.subplots(1, len(names), figsize=(11, 2.2), sharey=True, layout="constrained")
    expected = number / 10
    for axis, name in zip(axes, names, strict=True):
        axis.axhspan(*(expected + np.sqrt(0.9 * expected) * np.array([-2, 2])), color="0.88")
        axis.hist([row[name] for row in found["rows"]], 10, range=(0, 1), color="C0", rwidth=0.9)
        title = name.replace("_", " ") if len(name) > 8 else name
        axis.set(title=f"{title}\np = {found['probability'][name]:.2f}", xticks=(0, 1))
    axes[0].set_ylabel(what)
    figure.supxlabel("share of the posterior below the truth", fontsize="medium")
    figure.savefig(path)
    plt.close(figure)


TABLES = (
    correlated,
    correlated_disks,
    colors,
    adi,
    field_psf,
    stokes,
    periods,
    posteriors,
    checks,
    disks,
    hr4796a,
    solvers,
    accuracy,
    coverage,
    star_errors,
    kepler63,
    published,
    channels,
    planets,
    planet_stars,
    temperatures,
    agreement,
    side_by_side,
    surveys,
    explorer,
    command_stars,
    command_disks,
)
FIGURES = (disks_figure, solvers_figure, calibration_figure, calibration_disks_figure)


def make():
    """Write all of them into ``_generated``."""
    OUTPUT.mkdir(exist_ok=True)
    for function in TABLES:
        (OUTPUT / f"{function.__name__}.md").write_text(function())
    with plt.rc_context({"svg.fonttype": "none"}):
        for function in FIGURES:
            function(OUTPUT / f"{function.__name__}.svg")


if __name__ == "__main__":
    make()
