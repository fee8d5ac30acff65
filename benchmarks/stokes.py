"""What a polarimeter sees of rings near the star, and what the convolved intensity would be.

python benchmarks/stokes.py
"""

import argparse

import common
import jax
import numpy as np

import grater

FWHM, SIDE = 5.0, 121  # pixels
DISTANCES, INCLINATIONS = (1, 2, 4, 8), (0, 60)


def images(distance, inclination):
    """Of a narrow ring at some widths of the PSF from the star: Q_phi, U_phi and the intensity."""
    disk = grater.Disk(
        distance * FWHM,
        inclination,
        30.0,
        alpha_in=20.0,
        alpha_out=-15.0,
        scale_height=0.03 * distance * FWHM,
        phase=grater.Polarized(grater.HenyeyGreenstein(0.3)),
    )
    psf = grater.GaussianPSF(FWHM)
    channel = {
        name: grater.Channel(psf, curve="polarized", stokes=stokes)
        for name, stokes in (("Q_phi", "Q_phi"), ("U_phi", "U_phi"), ("intensity", None))
    }
    grid = grater.Grid((SIDE, SIDE), pixel_scale=0.1, distance=10.0)  # pixels of 1 au
    scene = grater.Scene(disk, grid=grid, channel=channel, oversample=3, accuracy=1e-6)
    return {name: np.asarray(image) for name, image in scene.images().items()}


def main():
    argparse.ArgumentParser(description=str(__doc__).splitlines()[0]).parse_args()
    jax.config.update("jax_enable_x64", True)
    rows = []
    for inclination in INCLINATIONS:
        for distance in DISTANCES:
            seen = images(distance, inclination)
            scalar = seen["intensity"]
            rows.append({
                "inclination": inclination,
                "distance, FWHM": distance,
                "peak": float(np.max(seen["Q_phi"]) / np.max(scalar)),
                "difference": float(np.max(np.abs(seen["Q_phi"] - scalar)) / np.max(scalar)),
                "U_phi": float(np.max(np.abs(seen["U_phi"])) / np.max(seen["Q_phi"])),
                "sum": float(np.sum(seen["Q_phi"]) / np.sum(scalar)),
            })  # fmt: skip
            print(rows[-1], flush=True)
    common.record("stokes", rows, fwhm=FWHM)


if __name__ == "__main__":
    main()
