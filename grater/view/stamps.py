"""Stamps of point spread functions: where their light is, and stamps moved to their middle."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from pytreefit.extend import as_floats

OFF_CENTRE = 0.25  # pixels, from which a stamp is said to be off its centre
_SKY = 0.05  # of the light, from which an edge that is level is said to be sky
_LEVEL = 0.7  # of the light half way out, above which the edge is level
_SMALL = 9  # pixels a side, of stamps that do not reach the sky


def centred_stamps(stamps: np.ndarray, center: tuple[float, float], where: str) -> np.ndarray:
    """Stamps, shape (n, ky, kx), moved and padded so that (x, y) is their middle pixel."""
    check_center(where, center, stamps.shape[1:])
    return np.asarray(jax.vmap(lambda stamp: centred(stamp, center))(as_floats(stamps)), float)


def centred(kernel, center):
    """A stamp moved and padded so that (x, y) is its middle pixel."""
    column, row = (round(c) for c in center)
    kernel = shifted(kernel, (row - center[1], column - center[0]))
    ky, kx = kernel.shape
    # as many pixels on either side of the centre
    half_y, half_x = max(row, ky - 1 - row), max(column, kx - 1 - column)
    pads = (
        (half_y - row, half_y - (ky - 1 - row)),
        (half_x - column, half_x - (kx - 1 - column)),
    )
    return jnp.pad(kernel, pads)


def light_center(image: np.ndarray) -> tuple[float, float]:
    """The centre (x, y) of the light above half of the maximum, zero-based pixels."""
    above = np.maximum(image / image.max() - 0.5, 0.0)
    above = above / np.sum(above)
    rows, columns = (np.arange(n) for n in image.shape)
    return float(np.sum(above * columns)), float(np.sum(above * rows[:, None]))


def warn_off_centre(where: str, image: np.ndarray) -> None:
    """Warn where the light is not about the pixel (kx // 2, ky // 2)."""
    (ky, kx), (x, y) = image.shape, light_center(image)
    if math.hypot(x - kx // 2, y - ky // 2) > OFF_CENTRE:
        warnings.warn(
            f"{where} of {ky} x {kx} pixels is centred about ({x:.2f}, {y:.2f}), but its "
            f"centre is taken to be the pixel ({kx // 2}, {ky // 2}) from 0: the image would be "
            "shifted. Give center=(x, y), that pixel if it is right.",
            stacklevel=4,
        )


def warn_of_sky(where: str, image: np.ndarray) -> None:
    """Warn of a stamp on a level background, which would count as light of the PSF."""
    if min(image.shape) < _SMALL:
        return
    rows, columns = (abs(np.arange(n) - (n - 1) / 2) / ((n - 1) / 2) for n in image.shape)
    out = np.maximum(rows[:, None], columns[None, :])  # 1 at the edge
    edge = float(np.median(image[out > 0.99]))
    half = float(np.median(image[abs(out - 0.5) < 0.1]))
    share = edge * image.size / image.sum()
    if share > _SKY and edge > _LEVEL * half:
        warnings.warn(
            f"{where} of {image.shape[0]} x {image.shape[1]} pixels has a level background of "
            f"{edge:.3g} at its edge, which makes {100 * share:.0f} % of its sum: fluxes "
            "would come out too large. Subtract the background.",
            stacklevel=4,
        )


def check_center(where, center, shape) -> None:
    """ValueError for a centre that is outside of a stamp."""
    if center is None:
        return
    inside = all(-0.5 <= c <= n - 0.5 for c, n in zip(center, shape[::-1], strict=True))
    if not inside:
        raise ValueError(
            f"{where} = {center} is not a position (x, y) in zero-based pixels of an image "
            f"of shape {shape}."
        )


def shifted(kernel, shift):
    """A stamp moved up and to the right by a fraction of a pixel."""
    if not any(shift):
        return kernel
    freq_y, freq_x = np.fft.fftfreq(kernel.shape[0]), np.fft.rfftfreq(kernel.shape[1])
    turn = -2.0 * np.pi * (freq_y[:, None] * shift[0] + freq_x[None, :] * shift[1])
    turn = jnp.asarray(turn, kernel.dtype)
    spectrum = jnp.fft.rfft2(kernel) * jax.lax.complex(jnp.cos(turn), jnp.sin(turn))
    return jnp.fft.irfft2(spectrum, s=kernel.shape)
