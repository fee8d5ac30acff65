"""Draw docs/images/disk.png and docs/images/light_curve.png: the README's examples, simulated.

python docs/figures/readme.py
"""

import pathlib
import re

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"


def examples():
    """What the README's examples define, the light curve first: it sets the precision."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    for code in reversed(blocks[:2]):
        names = {}
        exec(code, names)
        yield names


def draw_disk(names):
    data, best = names["data"], names["best"].model
    images = [data.image, best.image(), (data.image - best.image()) / data.error]
    titles = ["data (simulated)", "best fit", "residuals / error"]
    figure, axes = plt.subplots(1, 3, figsize=(7.5, 2.25), layout="constrained")
    for axis, image, title in zip(axes, images, titles, strict=True):
        limits = dict(cmap="inferno", vmin=0.0, vmax=float(np.quantile(images[1], 0.995)))
        if axis is axes[-1]:
            limits = dict(cmap="RdBu_r", vmin=-4.0, vmax=4.0)
        shown = axis.imshow(image, origin="lower", **limits)
        figure.colorbar(shown, ax=axis, shrink=0.75)
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[])
    return figure


def draw_light_curve(names):
    data, found, draws = names["data"], names["found"], names["draws"]
    when = np.linspace(data.time.min() - 2, data.time.max() + 8, 600)
    mean, variance = names["gp"].at(found.best.values).predict(when)
    figure, (curve, period) = plt.subplots(
        1, 2, figsize=(7.5, 2.4), width_ratios=[3, 1], layout="constrained"
    )
    width = np.sqrt(variance)
    curve.fill_between(when, mean - width, mean + width, color="C0", alpha=0.3, lw=0)
    curve.plot(when, mean, "C0", lw=1)
    curve.plot(data.time, data.flux, "k.", ms=3)
    curve.set(xlabel="time [d]", ylabel="flux", title="data (simulated) and prediction")
    paths = [path for path in draws.draws if path.endswith("peq")]
    period.hist(np.ravel(draws.draws[paths[0]]), 40, density=True, color="C0")
    period.axvline(float(names["truth"].visibility.peq), color="k", ls="--")
    period.set(xlabel="equatorial period [d]", yticks=[], title="posterior, truth")
    for axis in (curve, period):
        axis.title.set_fontsize(10)
    return figure


def main():
    IMAGES.mkdir(exist_ok=True)
    star, disk = examples()
    draw_light_curve(star).savefig(IMAGES / "light_curve.png", dpi=130)
    draw_disk(disk).savefig(IMAGES / "disk.png", dpi=130)


if __name__ == "__main__":
    main()
