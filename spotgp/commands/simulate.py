"""``spotgp simulate``: the light curve of a star with random spots, in a text file."""

from pathlib import Path

import astropy.units as u
import jax
import numpy as np
from astropy.table import QTable

from pytreefit.extend import (
    Command,
    Option,
    new_file,
    number,
    table_file,
    whole_file,
    whole_number,
)

from ..simulation.simulate import simulate
from ..star.model import SpotEvolutionModel
from ..star.trapezoid import TrapezoidSymmetricEnvelope
from ..star.visibility import VisibilityFunction

OPTIONS = (
    Option("period", number(0.0), 10.0, "rotation period at the equator, days"),
    Option("shear", number(-1e-9, 1.0), 0.1, "differential rotation, pole to equator"),
    Option("inclination", number(-1e-9, 180.0), 60.0, "of the axis to the line of sight, deg"),
    Option("lifetime", number(0.0), 20.0, "days for which a spot has its full size"),
    Option("growth", number(0.0), 5.0, "days in which a spot grows, and decays"),
    Option("spots", number(0.0), 1.0, "that emerge per day on the whole surface"),
    Option("radius", number(0.0, 90.0), 4.0, "largest angular radius of a spot, deg"),
    Option("brightness", number(-1e-9), 0.3, "of a spot relative to the photosphere"),
    Option("days", number(0.0), 90.0, "length of the light curve"),
    Option("cadence", number(0.0), 30.0, "minutes between two points"),
    Option("noise", number(0.0), 2e-4, "standard deviation of each point, relative flux"),
    Option("seed", whole_number(0), 0, "of the random numbers"),
    Option("output", Path, Path("light_curve.ecsv"), "the file, which must be a new one"),
)


def run(settings) -> None:
    """Draw spots, and write what a telescope would see of them."""
    output = new_file(str(settings.output))
    table_file(output.name)
    output.parent.mkdir(parents=True, exist_ok=True)
    model = SpotEvolutionModel(
        envelope=TrapezoidSymmetricEnvelope(lspot=settings.lifetime, tau_spot=settings.growth),
        visibility=VisibilityFunction(
            peq=settings.period, kappa=settings.shear, inc=np.deg2rad(settings.inclination)
        ),
        nspot_rate=settings.spots,
        fspot=settings.brightness,
        alpha_max=np.deg2rad(settings.radius),
    )
    time = np.arange(0.0, settings.days, settings.cadence / 1440.0)
    flux = np.asarray(simulate(model, jax.random.key(settings.seed), time)[0])
    flux = flux + settings.noise * np.random.default_rng(settings.seed).normal(size=time.size)
    truth = {one.name: str(getattr(settings, one.name)) for one in OPTIONS[:-1]}
    table = QTable(
        {"time": time * u.d, "flux": flux, "flux_err": np.full(time.size, settings.noise)},
        meta={"simulated": truth} if output.suffix == ".ecsv" else {},
    )
    with whole_file(output) as part:
        table.write(part)
    print(f"{time.size} points of a simulated star in {output}")


SIMULATE = Command(
    "simulate",
    """The light curve of a simulated star with random spots.

What it writes can be fitted by spotgp fit, to see how well its parameters are found again.""",
    run,
    OPTIONS,
)
