"""``spotgp explore``: a spotted star whose parameters are moved by hand, in the browser."""

from pathlib import Path

from pytreefit.extend import explore_command, number_code

from ..explore.state import StarExplorer
from ..gp.process import Process
from .fit import OPTIONS as FITTING, PRIORS, READING, check_priors, kind_of, process_of, read

OPTIONS = (*READING, *(option for option in FITTING if option.name == "points"))


def recipe(path: Path, settings, process: Process) -> str:
    """Python that reads the light curve, and makes a star of the same structure."""
    star, file = process.model, str(path.resolve())
    if kind_of(path) == "arrays":
        reading = (
            f"arrays = np.load({file!r})\ndata = spotgp.TimeSeriesData(\n"
            f'    arrays["time"], arrays["flux"], arrays["flux_err"], name={path.stem!r}\n)'
        )
    elif kind_of(path) == "fits":
        what = f"{file!r}, {settings.flux!r}, {settings.quality!r}"
        reading = f"data = spotgp.TimeSeriesData.from_fits({what})"
    else:
        what = f"{file!r}, {settings.flux!r}, columns={settings.columns!r}"
        reading = f"data = spotgp.TimeSeriesData.from_text({what})"
    first = f".first({settings.days!r})" if settings.days else ""
    value = {name: number_code(star.get(path)) for name, path in star.paths.items()}
    return "\n".join(
        [
            "import jax",
            "import numpy as np",
            "import numpyro.distributions as dist",
            "",
            "import spotgp",
            "",
            'jax.config.update("jax_enable_x64", True)',
            reading,
            f"data = data{first}.normalize().sigma_clip(5.0)",
            f"fitted = data.thin({settings.points!r})",
            "star = spotgp.SpotEvolutionModel(",
            "    envelope=spotgp.TrapezoidSymmetricEnvelope(",
            f"        lspot={value['lspot']}, tau_spot={value['tau_spot']}",
            "    ),",
            "    visibility=spotgp.VisibilityFunction(",
            f"        peq={value['peq']}, kappa={value['kappa']}, inc={value['inc']}",
            "    ),",
            f"    sigma_k={value['sigma_k']},",
            ")",
            f"jitter = {number_code(process.jitter)}",
        ]
    )


def explorer(settings) -> tuple[StarExplorer, str]:
    """The star of a light curve, and its name."""
    (path,) = settings.files
    check_priors(settings)
    data = read(path, settings)
    print(*data.history, sep="\n")
    rotation = data.rotation_period()
    print(rotation)
    gp = process_of(data, rotation, settings)
    print(gp)
    name = data.name or path.name.partition(".")[0]
    return StarExplorer(gp, data, rotation, recipe(path, settings, gp.process)), name


EXPLORE = explore_command(
    """The spots of a star, moved by hand in the browser.

The page shows the light curve with the prediction, the autocorrelation and the spectrum of the data
against the kernel's, and a turning star with such spots, drawn at random: no map of this star.
Candidates of the period can be clicked. It starts at first guesses.""",
    explorer,
    OPTIONS,
    files="the file of a light curve",
    priors=PRIORS,
)
