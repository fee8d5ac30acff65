"""Disks and stars that many tests share."""

import grater
import spotgp

# --- disks ---

GRID = grater.Grid((16, 16), 0.1, 60.0)


def make_disk(**changes) -> grater.Disk:
    """A ring of 30 au at 60 deg."""
    values = dict(
        semi_major_axis=30.0,
        inclination=60.0,
        position_angle=30.0,
        alpha_in=5.0,
        alpha_out=-4.0,
        scale_height=1.5,
        phase=grater.HenyeyGreenstein(0.3),
    )
    return grater.Disk(**{**values, **changes})


def make_scene(disk=None, **changes) -> grater.Scene:
    """The ring on a small grid."""
    return grater.Scene(make_disk() if disk is None else disk, **{"grid": GRID, **changes})


# --- stars ---


def make_star(envelope=None, sigma_k=0.01, **visibility) -> spotgp.SpotEvolutionModel:
    """A star that turns in 4 days, with spots that live for 10."""
    shape = {"peq": 4.0, "kappa": 0.2, "inc": 1.0, **visibility}
    return spotgp.SpotEvolutionModel(
        envelope=envelope or spotgp.TrapezoidSymmetricEnvelope(lspot=6.0, tau_spot=2.0),
        visibility=spotgp.VisibilityFunction(**shape),
        sigma_k=sigma_k,
    )
