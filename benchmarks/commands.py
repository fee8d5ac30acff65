"""What `spotgp fit` and `grater fit` find in real files without any option.

    python benchmarks/commands.py stars FOLDER --logs LOGS

FOLDER has the files, of light curves or of images of ``disks``. What the commands print goes into
LOGS, with their results in ``output`` there; a file whose log is there is not fitted again.
"""

import argparse
import pathlib
import re
import subprocess
import sys

import common
import jax
import numpy as np

from pytreefit import Samples
from pytreefit.extend import rounded
from spotgp.commands.fit import periods, read

jax.config.update("jax_enable_x64", True)
STAR = {
    "shear": "model.visibility.kappa",
    "inclination, deg": "model.visibility.inc",
    "life time, d": "model.envelope.lspot",
}
DISK = {
    "radius, au": "disk.semi_major_axis",
    "inclination, deg": "disk.inclination",
    "position angle, deg": "disk.position_angle",
}


def fitted(program, path, logs):
    """What a command printed, and its draws."""
    log = logs / f"{path.name}.log"
    if not log.exists():
        command = [pathlib.Path(sys.executable).with_name(program), "fit", str(path.resolve())]
        run = subprocess.run(command, cwd=logs, capture_output=True, text=True)
        log.write_text(run.stdout + run.stderr)
    said = log.read_text()
    folder = re.findall(r"^figures and draws in (.*)$", said, re.MULTILINE)
    if not folder:
        raise SystemExit(f"{program} fit {path.name} failed: see {log}")
    return said, Samples.load(logs / folder[-1] / "samples.npz")


def with_error(middle, width):
    return f"{rounded(middle, width)} ± {rounded(width, width)}"


def value(samples, path, scale=1.0):
    """Median and standard deviation of draws, or the limit that is all that is known."""
    limit = samples.limits.get(path)
    if limit is not None:
        return f"{limit.sign} {limit.value * scale:.3g}"
    draws = scale * np.asarray(samples.draws[path])
    return with_error(np.median(draws), np.std(draws))


def after(said, start):
    """What follows the last line that begins so."""
    return next(
        (line[len(start) :] for line in said.splitlines()[::-1] if line[: len(start)] == start), ""
    )


def star(path, logs):
    said, samples = fitted("spotgp", path, logs)
    row = {"star": after(said, "figures and draws in ").rpartition("/")[2]}
    settings = argparse.Namespace(flux=None, columns=None, quality="default", days=None)
    for name, found in periods(read(path, settings), samples).items():
        pair = found if isinstance(found, tuple) else (np.median(found), np.std(found))
        middle, width = map(float, pair)
        row[f"{name} period, d"] = with_error(middle, width)
    row.pop("equator period, d")
    for name, path in STAR.items():
        row[name] = value(samples, path, np.degrees(1.0) if name.endswith("deg") else 1.0)
    check = re.findall(r"^(Nothing fails|The model fails: .*?)[:.] ", said, re.MULTILINE)
    row["check"] = check[-1].removeprefix("The model fails: ")
    row["what speaks against the period"] = after(said, "what speaks against the period: ")
    return row


def disk(path, logs):
    said, samples = fitted("grater", path, logs)
    row = {"disk": after(said, "figures and draws in ").rpartition("/")[2]}
    row |= {name: value(samples, path) for name, path in DISK.items()}
    diagnostics = samples.rhat.values()
    row["largest R-hat"] = round(float(max(np.max(np.asarray(r)) for r in diagnostics)), 3)
    return row


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("half", choices=("stars", "disks"))
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--logs", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.logs.mkdir(exist_ok=True)
    row = {"stars": star, "disks": disk}[args.half]
    rows = [row(path, args.logs) for path in sorted(args.folder.glob("*.fits*"))]
    print(*rows, sep="\n")
    common.record(f"commands_{args.half}", rows)


if __name__ == "__main__":
    main()
