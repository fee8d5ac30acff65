"""Rotation periods from a light curve: the Lomb-Scargle periodogram and the autocorrelation."""

from .correlation import Autocorrelation, autocorrelation
from .periodogram import Periodogram, lomb_scargle

__all__ = ["Autocorrelation", "Periodogram", "autocorrelation", "lomb_scargle"]
