"""Total and polarised intensity, and two disks, integrated at once beside one after the other.

    python benchmarks/disk_pairs.py [--runs 15]

140 x 140 pixels in single precision on one core. All functions of a case take turns: in every
round 0.2 s of calls that are not timed, and then 50 ms of calls. Times are medians of the rounds in
ms; in brackets the first call, compilation included, in s.
"""

import argparse
import functools
import os
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import grater
import pytreefit

TURN, WARM = 0.05, 0.2


def disk(phase, **changes):
    values = dict(
        semi_major_axis=40.0,
        inclination=60.0,
        position_angle=30.0,
        alpha_in=5.0,
        alpha_out=-5.0,
        scale_height=3.0,
        eccentricity=0.1,
    )
    return grater.Disk(**{**values, **changes}, phase=phase)


def scene(disks, **channel):
    grid = grater.Grid((140, 140), 0.014, 72.8)
    return grater.Scene(disks, grid=grid, accuracy=2e-3, nodes_on="surfaces", **channel)


def with_both(disks):
    curves = ("total", "polarized")
    return scene(disks, channel={curve: grater.Channel(curve=curve) for curve in curves})


def image(model):
    return model.image()


def images(model):
    return jnp.stack(list(model.images().values()))


def gradient(render):
    """Sum of squares of what is rendered, with its gradient in all numbers but places of knots."""

    def free(path, leaf):
        return eqx.is_inexact_array(leaf) and "knots" not in jax.tree_util.keystr(path)

    @functools.partial(pytreefit.jit, threads=False)
    def value_and_gradient(model):
        moving, rest = eqx.partition(model.disk, jax.tree_util.tree_map_with_path(free, model.disk))

        def squares(moving):
            with_disk = eqx.tree_at(lambda s: s.disk, model, eqx.combine(moving, rest))
            return jnp.sum(render(with_disk) ** 2)

        return jax.value_and_grad(squares)(moving)

    return value_and_gradient


def called_for(seconds, function):
    began, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - began < seconds:
        jax.block_until_ready(function())
        calls += 1
    return (time.perf_counter() - began) / calls


def compare(name, runs, functions):
    first, times = [], []
    for function in functions.values():
        began = time.perf_counter()
        jax.block_until_ready(function())
        first.append(time.perf_counter() - began)
    for _ in range(runs):
        turn = []
        for function in functions.values():
            called_for(WARM, function)
            turn.append(1e3 * called_for(TURN, function))
        times.append(turn)
    cells = (
        f"{label} {median:.2f} ({seconds:.1f})"
        for label, median, seconds in zip(functions, np.median(times, axis=0), first, strict=True)
    )
    print(f"{name}: {', '.join(cells)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    # before JAX has made its threads
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    hg = grater.HenyeyGreenstein(0.3)
    phases = {"HG": hg, "spline": grater.SplinePhase.for_inclination(60.0, 6)}
    for name, phase in phases.items():
        total, polarized = scene(disk(phase)), scene(disk(grater.Polarized(phase, 0.3)))
        for what, one, both in (
            ("image", image, images),
            ("gradient", gradient(image), gradient(images)),
        ):
            functions = {
                "total": functools.partial(one, total),
                "polarised": functools.partial(one, polarized),
                "both": functools.partial(both, with_both(disk(grater.Polarized(phase, 0.3)))),
            }
            compare(f"{name}, {what}", runs, functions)
    outer, inner = disk(hg), disk(hg, semi_major_axis=30.0, inclination=50.0)
    mixed = grater.MixedHenyeyGreenstein([0.3], [1.0])
    unlike = disk(mixed, semi_major_axis=30.0, inclination=50.0)
    for what, function in (("image", image), ("gradient", gradient(image))):
        functions = {
            "one disk": functools.partial(function, scene(outer)),
            "two alike": functools.partial(function, scene([outer, inner])),
            "two unlike": functools.partial(function, scene([outer, unlike])),
        }
        compare(what, runs, functions)


if __name__ == "__main__":
    main()
