"""``grater explore``: a disk whose parameters are moved by hand, in the browser."""

from pytreefit.extend import SERVING, Command, number_code, require_app

from ..dust.disk import Disk
from ..explore.state import DiskExplorer
from ..scene import Scene
from .fit import OPTIONS as FITTING, check_priors, priors_about, start
from .reading import READING, python_of_reading, read, target_of

_ROUGH = ("radius", "inclination", "position_angle", "knots")
OPTIONS = (*READING, *(option for option in FITTING if option.name in _ROUGH), *SERVING)
_RING = ("semi_major_axis", "inclination", "position_angle")


def recipe(path, settings, disk: Disk) -> str:
    """Python that reads the image, and makes a scene of the same structure."""
    ring = [number_code(disk.get(name)) for name in _RING]
    named = {
        "alpha_in": disk.get("radial.alpha_in"),
        "alpha_out": disk.get("radial.alpha_out"),
        "scale_height": disk.get("vertical.scale_height"),
        "flux": disk.get("flux"),
    }
    phase = {name: number_code(disk.get(f"phase.{name}")) for name in ("knots", "values")}
    psf = f"grater.GaussianPSF({settings.fwhm!r})"
    if settings.psf is not None:
        file = str(settings.psf.resolve())
        psf = f"grater.ImagePSF(np.squeeze(fits.getdata({file!r})).astype(float))"
    return "\n".join(
        [
            "import numpy as np",
            "import numpyro.distributions as dist",
            "from astropy.io import fits",
            "",
            "import grater",
            "import pytreefit",
            "",
            python_of_reading(path, settings),
            f"phase = grater.SplinePhase(knots={phase['knots']}, values={phase['values']})",
            "disk = grater.Disk(",
            f"    {', '.join(ring)},",
            *(f"    {name}={number_code(value)}," for name, value in named.items()),
            "    phase=phase,",
            f"    phase_normalization={disk.phase_normalization!r},",
            f"    density_normalization={disk.density_normalization!r},",
            ")",
            f"scene = grater.Scene(disk, grid=data.grid, psf={psf})",
        ]
    )


def explorer(settings) -> tuple[DiskExplorer, str]:
    """The disk of an image, and its name."""
    (path,) = settings.files
    check_priors(settings)
    data = read(path, settings)
    target = target_of(path)
    print(f"{target}: {data!r}")
    scene: Scene = start(data, settings)
    priors = priors_about(scene) | settings.priors
    priors = {name: prior for name, prior in priors.items() if prior is not None}
    return DiskExplorer(scene, data, priors, recipe(path, settings, scene.disks[0])), target


def run(settings) -> None:
    """Read, find a start, compile, and serve the page."""
    require_app()
    disk, target = explorer(settings)
    print("compiling the image")
    disk.open(target, settings.port, settings.browser)


EXPLORE = Command(
    "explore",
    """The debris disk in an image, moved by hand in the browser.

The page shows data, model and residual, the phase function and the surface density; sliders and
number boxes move the parameters between the ends of their priors. A fit can begin at what is
shown, and the model can be saved, or copied as Python. It starts where grater fit does: at what a
search finds, unless you say where. Pixels are taken for independent. The page is for this computer
alone: its address has a token.""",
    run,
    OPTIONS,
    files="the FITS file of an image",
    priors='paths such as "disk.inclination"',
)
