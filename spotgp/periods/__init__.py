"""Rotation periods from a light curve: the Lomb-Scargle periodogram and the autocorrelation."""

from .correlation import Autocorrelation, autocorrelation
from .periodogram import Periodogram, lomb_scargle
from .rotation import RotationPeriod, rotation_period

__all__ = [
    "Autocorrelation",
    "Periodogram",
    "RotationPeriod",
    "autocorrelation",
    "lomb_scargle",
    "rotation_period",
]
