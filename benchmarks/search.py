"""How often `grater.search` finds a disk without a start, and in what time.

``python benchmarks/search.py`` searches simulated disks of all inclinations and position angles;
with a folder also the disks of the Gemini Planet Imager whose files are in it. Found is what is
within 5 deg of the true inclination and position angle and within 10 % of the radius where the
surface density is highest. Where the search says that the near side is undecided, either may be
the true one. Times are without compilation: one image of each kind is searched before.
"""

import argparse
import pathlib
import time

import common
import jax
import numpy as np

import grater

SIDE, FWHM, MASK = 81, 3.5, 5.0
# file: distance (pc), and radius of the highest surface density (au), inclination, position angle
# (deg) where the fit of examples/fit_gpi_disk.py ends from the values of Esposito et al. 2020
GPI = {
    "hr4796a": (71.9, 77.7, 76.5, 26.5),
    "hd117214": (107.6, 51.6, 74.0, 179.6),
    "hd145560": (120.4, 83.6, 42.7, 39.4),
    "hd157587": (100.5, 86.8, 69.1, 127.6),
}


def simulated(seed):
    """An image of a random disk, and the disk."""
    rng = np.random.default_rng(seed)
    radius = rng.uniform(11.0, 30.0)
    phase = grater.HenyeyGreenstein(rng.uniform(0.1, 0.6))
    disk = grater.Disk(
        radius,
        rng.uniform(20.0, 89.0),
        rng.uniform(0.0, 180.0),
        alpha_in=rng.uniform(5.0, 20.0),
        alpha_out=rng.uniform(-12.0, -4.0),
        scale_height=radius * rng.uniform(0.02, 0.06),
        phase=grater.Polarized(phase) if seed % 2 else phase,
        density_normalization="column",
    )
    grid = grater.Grid((SIDE, SIDE), pixel_scale=1.0, distance=1.0)
    scene = grater.Scene(disk, grid=grid, psf=grater.GaussianPSF(FWHM))
    image = scene.image()
    shown = grater.Observation(image, 1.0, pixel_scale=1.0, distance=1.0).mask_radius(MASK)
    peak = float(np.max(np.where(shown.used, image, 0.0)))
    signal = np.exp(rng.uniform(0.0, np.log(10.0)))
    disk = disk.set({"flux": signal / peak})
    scene = scene.set({"disk": disk})
    data = grater.Observation.simulate(scene, 1.0, jax.random.key(seed)).mask_radius(MASK)
    return data, disk, float(signal)


def errors(found, disk):
    """Errors of inclination and position angle in deg, and of the radius in percent."""
    true = (
        float(disk.inclination),
        float(disk.position_angle),
        float(grater.peak_radius(disk)),
    )
    return difference(found.model.disk, *true)


def difference(disk, inclination, position_angle, radius):
    own, angle = float(disk.inclination), float(disk.position_angle)
    ways = [(own, angle), (180.0 - own, angle + 180.0)]
    misses = [
        (abs(i - inclination), abs((pa - position_angle + 180.0) % 360.0 - 180.0)) for i, pa in ways
    ]
    tilt, turn = min(misses, key=sum)
    return tilt, turn, 100.0 * abs(float(grater.peak_radius(disk)) / radius - 1.0)


def row(name, data, compare, **more):
    """One search, and how far it is off."""
    began = time.perf_counter()
    found = grater.search(data, progress=False)
    seconds = time.perf_counter() - began
    options = (found.undecided or found.fits[:1]) if found.fits else ()
    misses = [compare(option) for option in options]
    tilt, turn, radius = min(misses, key=lambda m: m[0] + m[1]) if misses else (np.nan,) * 3
    result = {
        "name": name,
        **more,
        "inclination off, deg": round(tilt, 2),
        "position angle off, deg": round(turn, 2),
        "radius off, %": round(radius, 2),
        "found": bool(tilt < 5.0 and turn < 5.0 and radius < 10.0),
        "agreeing": found.agreeing,
        "flags": list(found.flags),
        "seconds": round(seconds, 2),
    }
    print(result, flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", nargs="?", type=pathlib.Path, help="of the GPI files")
    parser.add_argument("--disks", type=int, default=50)
    args = parser.parse_args()
    rows = []
    for seed in range(2):
        grater.search(simulated(seed)[0], progress=False)
    for seed in range(args.disks):
        data, disk, signal = simulated(seed)
        truth = {
            "inclination": round(float(disk.inclination), 1),
            "radius, pixels": round(float(disk.semi_major_axis), 1),
            "S/N of the brightest pixel": round(signal, 2),
        }
        rows.append(row(seed, data, lambda found, disk=disk: errors(found, disk), **truth))
    for name, (distance, *rough) in GPI.items():
        if args.folder is None:
            break
        data = grater.Observation.from_gpi(args.folder / f"{name}_H_pol.fits.gz", distance)

        grater.search(data, progress=False)

        def compare(found, rough=rough):
            radius, inclination, angle = rough
            near = [
                difference(found.model.disk, i, angle, radius)
                for i in (inclination, 180.0 - inclination)
            ]
            return min(near, key=lambda miss: miss[0] + miss[1])  # the near side differs by paper

        rows.append(row(name, data, compare))
    for kind, of in (("simulated", rows[: args.disks]), ("GPI", rows[args.disks :])):
        print(f"{kind}: {sum(r['found'] for r in of)} of {len(of)} found")
    common.record("search", rows)


if __name__ == "__main__":
    main()
