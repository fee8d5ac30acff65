"""``grater explore``: a disk whose parameters are moved by hand, in the browser."""

from pytreefit.extend import explore_command, number_code, split_fixed

from ..explore.state import DiskExplorer
from ..scene import Scene
from .fit import OPTIONS as FITTING, check_priors, start
from .reading import READING, python_of_reading, read, target_of, warn_of_distances

_ROUGH = ("radius", "inclination", "position_angle", "knots")
OPTIONS = (*READING, *(option for option in FITTING if option.name in _ROUGH))
_RING = ("semi_major_axis", "inclination", "position_angle")


def recipe(path, settings, scene: Scene) -> str:
    """Python that reads the image, and makes a scene of the same structure."""
    (disk,), (channel,) = scene.disks, scene.channels.values()
    ring = [number_code(disk.get(name)) for name in _RING]
    named = {
        "alpha_in": disk.get("radial.alpha_in"),
        "alpha_out": disk.get("radial.alpha_out"),
        "scale_height": disk.get("vertical.scale_height"),
        "flux": disk.get("flux"),
    }
    phase = {name: number_code(disk.get(f"phase.{name}")) for name in ("knots", "values")}
    if settings.psf is None:
        psf = f"grater.GaussianPSF({number_code(scene.get('psf.fwhm'))})"
    else:
        file = str(settings.psf.resolve())
        psf = f"grater.read_psf({file!r}, center={settings.psf_center!r})"
    fine = channel.points_per_pixel
    seen = f", oversample={fine}" if fine > 1 else ""
    seen += f", stokes={channel.stokes!r}" if channel.stokes else ""
    return "\n".join(
        [
            "import numpy as np",
            "import numpyro.distributions as dist",
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
            f"scene = grater.Scene(disk, grid=data.grid, psf={psf}{seen})",
            *(
                f"scene = scene.set({{{name!r}: np.full(np.shape(scene.get({name!r})), {value})}})"
                for name, value in split_fixed(settings.priors)[1].items()
            ),
        ]
    )


def explorer(settings) -> tuple[DiskExplorer, str]:
    """The disk of an image, and its name."""
    (path,) = settings.files
    check_priors(settings)
    warn_of_distances(settings.files, settings)
    data = read(path, settings)
    target = target_of(path)
    print(f"{target}: {data!r}")
    scene, priors = start(data, settings)
    return DiskExplorer(scene, data, priors, recipe(path, settings, scene)), target


EXPLORE = explore_command(
    """The debris disk in an image, moved by hand in the browser.

The page shows data, model and residual, the phase function and the surface density. It starts where
grater fit does: at what a search finds, unless you say where. Pixels are taken for independent.""",
    explorer,
    OPTIONS,
    files="the FITS file of an image",
    priors='paths such as "disk.inclination"',
)
