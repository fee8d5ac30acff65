"""Rotation periods from a light curve, and how active the star is."""

from .activity import PhotometricActivity, photometric_activity, variability_range
from .correlation import Autocorrelation, autocorrelation
from .periodogram import Periodogram, lomb_scargle
from .rotation import RotationPeriod, rotation_period

__all__ = [
    "Autocorrelation",
    "Periodogram",
    "PhotometricActivity",
    "RotationPeriod",
    "autocorrelation",
    "lomb_scargle",
    "photometric_activity",
    "rotation_period",
    "variability_range",
]
