"""A hundred PSFs over a field: time and error of all of them, of few terms, and of zones.

python benchmarks/field_psf.py
"""

import argparse

import common
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import j1

import grater

SIDE, NUMBER, STAMP = 320, 100, 61


def psfs(places, center):
    """Airy cores that widen, stretch and turn over the field, with lobes, dark behind a mask."""
    row, column = np.indices((STAMP, STAMP)) - STAMP // 2
    radius = np.hypot(row, column)
    stamps = []
    for x, y in places - center:
        r, angle = np.hypot(x, y), np.arctan2(y, x)
        width = 1.2 + r / 1000
        along = (column * np.cos(angle) + row * np.sin(angle)) / (1 + 0.3 * np.exp(-r / 40))
        across = row * np.cos(angle) - column * np.sin(angle)
        phase = np.hypot(along, across) / width + 1e-9
        airy = (2 * j1(phase) / phase) ** 2
        turns = 1 + 0.5 * np.cos(3 * np.arctan2(row, column) + r / 60)
        stamp = airy + 0.01 * turns * np.exp(-0.5 * ((radius - 9) / 2) ** 2)
        stamps.append(stamp / stamp.sum() * (1 - 0.9 * np.exp(-0.5 * (r / 12) ** 2)))
    return np.array(stamps)


def field():
    """Stamps and their places, on a grid that is not quite regular."""
    side = np.linspace(0, SIDE - 1, round(NUMBER**0.5))
    places = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    places += np.random.default_rng(0).uniform(-8, 8, places.shape)
    return psfs(places, SIDE / 2), places


def ring(margin):
    """A narrow inclined ring with a bright side, and its margin."""
    row, column = np.indices((SIDE + 2 * margin,) * 2) - (SIDE / 2 + margin)
    radius = np.hypot(row / 0.4, column)
    return np.exp(-0.5 * ((radius - 90) / 3) ** 2) * (1.5 + np.tanh(row / 20))


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    stamps, places = field()
    shape, margin = (SIDE, SIDE), STAMP // 2
    image = jnp.asarray(ring(margin))
    value = jax.jit(lambda psf, image: psf.convolve(image, (margin, margin)))
    gradient = jax.jit(
        jax.value_and_grad(lambda image, psf: jnp.sum(psf.convolve(image, (margin, margin)) ** 2))
    )
    cases = {
        "all, linear": ("linear", 0.0),
        "all, nearest zones": ("nearest", 0.0),
        **{f"accuracy {a:.0e}": ("linear", a) for a in (1e-2, 1e-3, 1e-4)},
        "nearest zones, accuracy 1e-03": ("nearest", 1e-3),
    }
    rows, functions, truths = [], [], {}
    for name, (interpolation, accuracy) in cases.items():
        psf = grater.FieldPSF.from_positions(
            stamps, places, shape, interpolation=interpolation, accuracy=accuracy
        )
        found = np.asarray(value(psf, image))
        truth = truths.setdefault(interpolation, found)
        rows.append({
            "case": name,
            "terms": psf.terms,
            "stated error": float(psf.error),
            "error": float(np.max(np.abs(found - truth)) / np.max(truth)),
            "from linear": float(np.max(np.abs(found - truths["linear"])) / np.max(truth)),
        })  # fmt: skip
        functions.append((
            lambda psf=psf: value(psf, image).block_until_ready(),
            lambda psf=psf: jax.block_until_ready(gradient(image, psf)),
        ))  # fmt: skip
    times = [[[1e3 * common.turn(f) for f in pair] for pair in functions] for _ in range(args.runs)]
    for row, (image_ms, gradient_ms) in zip(rows, np.median(times, axis=0), strict=True):
        row["ms"], row["gradient, ms"] = image_ms, gradient_ms
        print(row, flush=True)
    common.record("field_psf", rows, rounds=args.runs, side=SIDE, psfs=NUMBER, stamp=STAMP)


if __name__ == "__main__":
    main()
