"""Draws in other packages' hands: ArviZ, corner, matplotlib; none is imported before it is used."""

import importlib
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def to_arviz(samples):
    """See :meth:`Samples.to_arviz`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ announces its version 1.0 at import
        arviz = _import("arviz")
    posterior = {name: np.asarray(samples.draws[name]) for name in samples.names}
    statistics = {
        "lp": np.asarray(samples.log_density),
        "diverging": np.asarray(samples.diverging),
        "acceptance_rate": np.asarray(samples.acceptance),
        "tree_depth": np.asarray(samples.tree_depth),
        "n_steps": np.asarray(samples.leapfrogs),
    }
    if int(arviz.__version__.partition(".")[0]) >= 1:
        return arviz.from_dict({"posterior": posterior, "sample_stats": statistics})
    return arviz.from_dict(posterior=posterior, sample_stats=statistics)


def corner(samples, names: Sequence[str] | None, **options):
    """See :meth:`Samples.corner`."""
    package = _import("corner")
    labels, columns = _columns(samples, names)
    table = np.stack([np.ravel(column) for column in columns], axis=1)
    defaults = {
        "labels": labels,
        "quantiles": [0.16, 0.5, 0.84],
        # as many bins as the draws can fill, and smooth: contours of few draws are mostly noise
        "bins": max(8, min(30, int(len(table) ** 0.4))),
        "smooth": 1.0,
        "quiet": True,
    }
    return package.corner(table, **{**defaults, **options})


def trace(samples, names: Sequence[str] | None):
    """See :meth:`Samples.trace`."""
    pyplot = _import("matplotlib.pyplot")
    labels, columns = _columns(samples, names)
    size = (9.0, 1.6 * len(columns))
    figure, axes = pyplot.subplots(
        len(columns), 2, figsize=size, squeeze=False, width_ratios=(1, 3), layout="constrained"
    )
    for (label, column), (left, right) in zip(zip(labels, columns, strict=True), axes, strict=True):
        for chain in column:
            left.hist(chain, bins="auto", histtype="step", density=True)
            right.plot(chain, linewidth=0.6)
        left.set_xlabel(label)
        left.set_yticks([])
        right.set_ylabel(label)
        right.margins(x=0)
    axes[-1, 1].set_xlabel("draw")
    return figure


def _columns(samples, names: Sequence[str] | None) -> tuple[list[str], list[np.ndarray]]:
    """Every number's label, with the unit and where several have the same its path; and draws."""
    names = samples.names if names is None else names
    unknown = [name for name in names if name not in samples.names]
    if unknown:
        raise ValueError(
            f"There are no draws of {', '.join(unknown)}: there are of {', '.join(samples.names)}."
        )
    found = []
    for entry, draws in samples.columns.items():
        name, bracket, index = entry.partition("[")
        if name in names:
            found.append((name, samples.labels[name] + bracket + index, draws))
    count = Counter(label for _, label, _ in found)
    labels = []
    for name, label, _ in found:
        unit = f" [{samples.units[name]}]" if samples.units[name] else ""
        path = f" ({name})" if count[label] > 1 else ""
        labels.append(f"{label}{path}{unit}")
    return labels, [draws for *_, draws in found]


def _import(package: str):
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"This needs the package {package.partition('.')[0]}: install it with "
            "pip install 'grater-spotgp[plots]'."
        ) from error


def new_folder(path: Path) -> Path:
    """A folder for results that is made now: the path, or path_2, path_3 ... where there is one."""
    folder, number = path, 1
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            folder = path.with_name(f"{path.name}_{number}")
        else:
            return folder


def save_figures(samples, figures: Mapping[str, Any], folder: Path, dpi: int) -> None:
    """Write figures by name as PNG, and the corner plot where what draws it is installed."""
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=dpi)
    try:
        samples.corner().savefig(folder / "corner.png", dpi=80)
    except ImportError as error:
        print(f"no corner plot: {error}")
