"""``grater simulate``: the image of a debris disk with noise, in a FITS file."""

from pathlib import Path

import jax
import numpy as np
from astropy.io import fits

from pytreefit.extend import Command, Option, new_file, number, whole_file, whole_number

from ..data.observation import Observation
from ..dust.disk import Disk
from ..dust.phase import HenyeyGreenstein
from ..scene import Scene
from ..view.psf import GaussianPSF
from ..view.view import Grid

OPTIONS = (
    Option("radius", number(0.0), 60.0, "of the ring, au"),
    Option("inclination", number(-1e-9, 180.0), 70.0, "deg, 0 is face-on"),
    Option("position_angle", number(), 30.0, "of the major axis, deg East of North"),
    Option("alpha_in", number(0.0), 10.0, "slope of the density inside of the ring"),
    Option("alpha_out", number(highest=0.0), -6.0, "and outside"),
    Option("scale_height", number(0.0), 2.0, "at the ring, au"),
    Option("g", number(-1.0, 1.0), 0.3, "of Henyey and Greenstein's phase function"),
    Option("distance", number(0.0), 70.0, "of the star, pc"),
    Option("pixel_scale", number(0.0), 0.03, "arcsec"),
    Option("size", whole_number(5), 101, "pixels along a side"),
    Option("fwhm", number(0.0), 3.0, "of the point spread function, pixels"),
    Option("peak", number(0.0), 1.0, "brightness of the brightest pixel"),
    Option("noise", number(0.0), 0.05, "standard deviation of each pixel"),
    Option("seed", whole_number(0), 0, "of the random numbers"),
    Option("output", Path, Path("disk.fits"), "the file, which must be a new one"),
)


def run(settings) -> None:
    """Render a ring, add noise, and write both with the header that ``grater fit`` needs."""
    disk = Disk(
        settings.radius,
        settings.inclination,
        settings.position_angle,
        alpha_in=settings.alpha_in,
        alpha_out=settings.alpha_out,
        scale_height=settings.scale_height,
        phase=HenyeyGreenstein(settings.g),
    )
    size, output = settings.size, new_file(str(settings.output))
    grid = Grid((size, size), settings.pixel_scale, settings.distance)
    scene = Scene(disk, grid=grid, psf=GaussianPSF(settings.fwhm))
    scene = scene.set({"disk.flux": settings.peak / float(np.max(scene.image()))})
    data = Observation.simulate(scene, settings.noise, jax.random.key(settings.seed))
    x, y = (float(c) for c in grid.center)
    header = fits.Header()
    header["OBJECT"] = "simulated disk"
    header["PSFCENTX"], header["PSFCENTY"] = (x, "star, zero-based"), (y, "star, zero-based")
    degrees = settings.pixel_scale / 3600.0
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRPIX1"], header["CRPIX2"] = x + 1.0, y + 1.0
    header["CRVAL1"], header["CRVAL2"] = 0.0, 0.0
    header["CDELT1"], header["CDELT2"] = -degrees, degrees
    header["CUNIT1"], header["CUNIT2"] = "deg", "deg"
    for option in OPTIONS[:7]:
        header.add_history(f"{option.name} = {getattr(settings, option.name)}")
    image = fits.ImageHDU(np.asarray(data.image, np.float32), header, name="SCI")
    error = fits.ImageHDU(np.asarray(data.error, np.float32), header, name="ERR")
    output.parent.mkdir(parents=True, exist_ok=True)
    primary = fits.PrimaryHDU(header=fits.Header({"OBJECT": header["OBJECT"]}))
    with whole_file(output) as part:
        fits.HDUList([primary, image, error]).writeto(part)
    print(f"{size} x {size} pixels of a simulated disk in {output}")


SIMULATE = Command(
    "simulate",
    """The image of a simulated ring with noise.

What it writes can be fitted by grater fit --distance --fwhm, to see how well its parameters are
found.""",
    run,
    OPTIONS,
)
