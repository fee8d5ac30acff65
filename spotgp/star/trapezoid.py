"""Envelopes that rise, stay and fall along straight lines, exact for any order of their times."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..component import plain, to_float
from .envelope import AbstractEnvelope, AbstractPlateauEnvelope, duration, time_scale

_SERIES_BELOW = 1.0  # of the angle omega tau: the closed form has lost nothing yet above


def _ramp_transform(theta):
    r"""Real and imaginary part of :math:`(e^x - 1 - x - x^2/2) / x^3` at :math:`x = i\theta`."""
    small = jnp.abs(theta) < _SERIES_BELOW
    near = jnp.where(small, theta, 0.0)
    square = near * near
    real, imaginary = jnp.zeros_like(near), jnp.zeros_like(near)
    for k in range(9, -1, -1):  # Horner: sums of (-1)^k x^2k / (2k+3)! and / (2k+4)!
        real = 1.0 - square / ((2 * k + 4) * (2 * k + 5)) * real
        imaginary = 1.0 - square / ((2 * k + 5) * (2 * k + 6)) * imaginary
    far = jnp.where(small, 1.0, theta)
    cube = far * far * far
    return (
        jnp.where(small, real / 6.0, (far - jnp.sin(far)) / cube),
        jnp.where(small, near * imaginary / 24.0, (jnp.cos(far) - 1.0 + 0.5 * far * far) / cube),
    )


@jax.jit
def _transform(corners, omega):
    """Fourier transform of the squares of trapezoids, from their corners, shape (n, 4)."""
    frequency = omega.ravel()[None, :]
    start, top, end, stop = (corner[:, None] for corner in corners.T)
    middle, plateau = 0.5 * (top + end), end - top
    size = plateau * jnp.sinc(frequency * plateau / (2.0 * np.pi))
    # a falling ramp is a rising one backwards in time
    length = jnp.concatenate([top - start, stop - end])
    at = jnp.concatenate([top, end])
    sign = jnp.repeat(jnp.asarray([1.0, -1.0], corners.dtype), corners.shape[0])[:, None]
    ramp_real, ramp_imaginary = _ramp_transform(frequency * length)
    ramp_real, ramp_imaginary = 2.0 * length * ramp_real, 2.0 * length * sign * ramp_imaginary
    real = jnp.concatenate([size, ramp_real])
    imaginary = jnp.concatenate([jnp.zeros_like(size), ramp_imaginary])
    phase = frequency * jnp.concatenate([middle, at])
    cosine, sine = jnp.cos(phase), jnp.sin(phase)
    value = jax.lax.complex(
        jnp.sum(real * cosine + imaginary * sine, axis=0),
        jnp.sum(imaginary * cosine - real * sine, axis=0),
    )
    return value.reshape(omega.shape)


def _pieces(corners):
    """First and last time of all straight pieces, and the profile there, shapes (3 n,)."""
    rise = jnp.asarray([0.0, 1.0, 1.0], corners.dtype)
    fall = jnp.asarray([1.0, 1.0, 0.0], corners.dtype)
    count = corners.shape[0]
    low, high = corners[:, :3].ravel(), corners[:, 1:].ravel()
    return low, high, jnp.tile(rise, count), jnp.tile(fall, count)


@jax.jit
def _autocorrelation(corners, lag):
    """Exact autocorrelation of the squares of trapezoids, from their corners, shape (n, 4).

    Where a piece of Gamma(t) meets one of Gamma(t + lag), both are straight lines; the integral of
    the product of their squares is a sum of positive terms, so that nothing cancels.
    """
    low, high, first, last = _pieces(corners)
    # lag >= 0: the second piece is the first one or comes after it
    i, j = np.triu_indices(low.size)
    # by symmetry the slope at lag 0 is 0, which |lag| does not know
    s = jnp.where(lag == 0, 0.0, jnp.abs(jnp.where(lag == 0, 1.0, lag))).ravel()[None, :]
    here, there = (low[i][:, None], high[i][:, None]), (low[j][:, None] - s, high[j][:, None] - s)
    # where ends meet, all derivatives are those of a slightly longer lag: R_Gamma has one slope
    start = jnp.where(here[0] >= there[0], here[0], there[0])
    stop = jnp.where(here[1] < there[1], here[1], there[1])
    # >=: what has no length yet grows with the lag or a plateau; at lag 0 no piece meets another
    same = (i == j)[:, None]
    meet = (stop >= start) & jnp.where(same, (s == 0) | (there[1] > here[0]), there[1] > here[0])
    meet = meet & (same | (s > 0))
    width = jnp.where(meet, stop - start, 0.0)

    # a piece without length is a plateau, on which the profile is 1
    flat = first == last
    length = jnp.where(flat, 1.0, high - low)
    slope = jnp.where(flat, 0.0, (last - first) / length)

    def value(piece, t):
        line = first[piece][:, None] + slope[piece][:, None] * (t - low[piece][:, None])
        return jnp.where(line < 0.0, 0.0, jnp.where(line > 1.0, 1.0, line))

    a, b = value(i, start), value(i, stop)
    c, d = value(j, start + s), value(j, stop + s)
    # int_0^1 of the product of both squares, in the Bernstein basis
    ends = a * a * (c * c + 0.5 * c * d + d * d / 6.0) + b * b * (c * c / 6.0 + 0.5 * c * d + d * d)
    cross = a * b * (0.5 * c * c + 2.0 / 3.0 * c * d + 0.5 * d * d)
    return jnp.sum(0.2 * width * (ends + cross), axis=0).reshape(lag.shape)


class _AbstractTrapezoids(AbstractEnvelope):
    """One or several trapezoids whose supports do not overlap."""

    def _corners(self) -> Float[Array, "n 4"]:
        """Start, begin and end of the plateau, and stop of every trapezoid, in their order."""
        raise NotImplementedError

    def Gamma(self, t):
        t = to_float(t)
        total = jnp.zeros_like(t)
        for start, top, end, stop in self._corners():
            rise, fall = (t - start) / (top - start), (stop - t) / (stop - end)
            total = total + jnp.clip(jnp.minimum(rise, fall), 0.0, 1.0)
        return total

    def breakpoints(self):
        return self._corners().ravel()

    def kernel_support(self):
        corners = self._corners()
        return plain(corners[-1, -1] - corners[0, 0])

    def Gamma_hat(self, omega):
        return _transform(self._corners(), to_float(omega))

    def R_Gamma(self, lag):
        return _autocorrelation(self._corners(), to_float(lag))


def _single(lspot, tau_em, tau_dec):
    half = 0.5 * lspot
    return jnp.stack([-half - tau_em, -half, half, half + tau_dec])[None, :]


class _AbstractSequence(_AbstractTrapezoids):
    """Symmetric trapezoids with gaps between their supports, the whole centred on t = 0."""

    plateaus: ClassVar[tuple[str, ...]]
    ramps: ClassVar[tuple[str, ...]]
    gaps: ClassVar[tuple[str, ...]]

    def _corners(self):
        lengths = [[getattr(self, name) for name in names] for names in self._names()]
        corners, time = [], jnp.zeros_like(lengths[0][0])
        for plateau, ramp, gap in zip(*lengths[:2], [*lengths[2], 0.0 * time], strict=True):
            for length in (ramp, plateau, ramp, gap):
                corners.append(time)
                time = time + length
        return (jnp.stack(corners) - 0.5 * time).reshape(-1, 4)

    def _names(self):
        return self.plateaus, self.ramps, self.gaps

    def _equations(self):
        from . import trapezoid_equations as equations

        return equations.sequence(*self._names())


class TrapezoidSymmetricEnvelope(AbstractPlateauEnvelope, _AbstractTrapezoids):
    r"""A spot that grows, stays and decays along straight lines, as fast up as down.

    .. math:: \Gamma(t) = \mathrm{clip}\left(\frac{l/2 + \tau - |t|}{\tau},\, 0,\, 1\right)

    Its transform and its autocorrelation are exact for every order of its times, a plateau shorter
    than the ramps or none at all included.

    Parameters
    ----------
    lspot
        Length l of the plateau in days, >= 0.
    tau_spot
        Length tau of either ramp in days, > 0.

    Examples
    --------
    >>> envelope = TrapezoidSymmetricEnvelope(lspot=15.0, tau_spot=5.0)
    >>> envelope.kernel_support()
    25.0
    """

    plateau, ramps = "lspot", ("tau_spot",)

    lspot: Float[Array, ""] = duration(r"$\ell_\mathrm{spot}$", "length of the plateau")
    tau_spot: Float[Array, ""] = time_scale(r"$\tau_\mathrm{spot}$", "length of either ramp")

    def _corners(self):
        return _single(self.lspot, self.tau_spot, self.tau_spot)

    def _equations(self):
        from . import trapezoid_equations as equations

        return equations.symmetric()


class TrapezoidAsymmetricEnvelope(AbstractPlateauEnvelope, _AbstractTrapezoids):
    r"""A spot that grows, stays and decays along straight lines, each with a duration of its own.

    .. math::
        \Gamma(t) = \mathrm{clip}\left(\min\left(\frac{l/2 + \tau_{em} + t}{\tau_{em}},
        \frac{l/2 + \tau_{dec} - t}{\tau_{dec}}\right),\, 0,\, 1\right)

    Parameters
    ----------
    lspot
        Length l of the plateau in days, >= 0; it is centred on t = 0.
    tau_em, tau_dec
        Lengths of the emergence and of the decay in days, > 0.

    Examples
    --------
    >>> envelope = TrapezoidAsymmetricEnvelope(lspot=8.0, tau_em=1.0, tau_dec=5.0)
    >>> round(float(envelope.Gamma_hat(0.0).real), 3)  # lspot + (tau_em + tau_dec) / 3
    10.0
    """

    plateau, ramps = "lspot", ("tau_em", "tau_dec")

    lspot: Float[Array, ""] = duration(r"$\ell_\mathrm{spot}$", "length of the plateau")
    tau_em: Float[Array, ""] = time_scale(r"$\tau_\mathrm{em}$", "length of the emergence")
    tau_dec: Float[Array, ""] = time_scale(r"$\tau_\mathrm{dec}$", "length of the decay")

    def _corners(self):
        return _single(self.lspot, self.tau_em, self.tau_dec)

    def _equations(self):
        from . import trapezoid_equations as equations

        return equations.asymmetric()


class DoubleTrapezoidEnvelope(_AbstractSequence):
    r"""Two equal symmetric trapezoids, a spot that comes back at an active longitude.

    .. math:: \Gamma(t) = \Gamma_1(t + \Delta / 2) + \Gamma_1(t - \Delta / 2), \quad
        \Delta = l + 2 \tau + t_{gap}

    with :math:`\Gamma_1` that of `TrapezoidSymmetricEnvelope`.

    Parameters
    ----------
    lspot
        Length of either plateau in days, >= 0.
    tau_spot
        Length of every ramp in days, > 0.
    t_gap
        Time between the end of the first and the start of the second in days, >= 0.

    Examples
    --------
    >>> envelope = DoubleTrapezoidEnvelope(lspot=5.0, tau_spot=2.0, t_gap=10.0)
    >>> round(float(envelope.Gamma_hat(0.0).real), 3)  # the integral of the area, days
    12.667
    """

    plateaus, ramps, gaps = ("lspot",) * 2, ("tau_spot",) * 2, ("t_gap",)

    lspot: Float[Array, ""] = duration(r"$\ell_\mathrm{spot}$", "length of either plateau")
    tau_spot: Float[Array, ""] = time_scale(r"$\tau_\mathrm{spot}$", "length of every ramp")
    t_gap: Float[Array, ""] = duration(r"$t_\mathrm{gap}$", "time between both", default=0.0)


class DoubleTrapezoidAsymmetricEnvelope(_AbstractSequence):
    r"""Two different symmetric trapezoids one after the other.

    .. math:: \Gamma(t) = \Gamma_1(t - c_1) + \Gamma_2(t - c_2), \quad
        c_2 - c_1 = \frac{l_1 + l_2}{2} + \tau_1 + \tau_2 + t_{gap}

    with :math:`\Gamma_i` that of `TrapezoidSymmetricEnvelope` and t = 0 halfway between the
    start of the first and the end of the second.

    Parameters
    ----------
    lspot1, lspot2
        Lengths of the plateaus in days, >= 0.
    tau_spot1, tau_spot2
        Lengths of the ramps in days, > 0.
    t_gap
        Time between the end of the first and the start of the second in days, >= 0.

    Examples
    --------
    >>> envelope = DoubleTrapezoidAsymmetricEnvelope(5.0, 2.0, 8.0, 1.0, t_gap=10.0)
    >>> round(float(envelope.Gamma_hat(0.0).real), 3)  # the integral of the area, days
    15.0
    """

    plateaus, ramps, gaps = ("lspot1", "lspot2"), ("tau_spot1", "tau_spot2"), ("t_gap",)

    lspot1: Float[Array, ""] = duration(r"$\ell_1$", "length of the first plateau")
    tau_spot1: Float[Array, ""] = time_scale(r"$\tau_1$", "length of the first ramps")
    lspot2: Float[Array, ""] = duration(r"$\ell_2$", "length of the second plateau")
    tau_spot2: Float[Array, ""] = time_scale(r"$\tau_2$", "length of the second ramps")
    t_gap: Float[Array, ""] = duration(r"$t_\mathrm{gap}$", "time between both", default=0.0)


class TripleTrapezoidAsymmetricEnvelope(_AbstractSequence):
    r"""Three different symmetric trapezoids one after the other.

    .. math:: \Gamma(t) = \Gamma_1(t - c_1) + \Gamma_2(t - c_2) + \Gamma_3(t - c_3)

    with :math:`\Gamma_i` that of `TrapezoidSymmetricEnvelope` and t = 0 halfway between the
    start of the first and the end of the last.

    Parameters
    ----------
    lspot1, lspot2, lspot3
        Lengths of the plateaus in days, >= 0.
    tau_spot1, tau_spot2, tau_spot3
        Lengths of the ramps in days, > 0.
    t_gap12, t_gap23
        Times between the end of one and the start of the next in days, >= 0.

    Examples
    --------
    >>> envelope = TripleTrapezoidAsymmetricEnvelope(5.0, 2.0, 3.0, 1.0, 4.0, 1.0, 8.0, 8.0)
    >>> round(float(envelope.kernel_support()), 3)  # days from the first to the last of it
    36.0
    """

    plateaus = ("lspot1", "lspot2", "lspot3")
    ramps = ("tau_spot1", "tau_spot2", "tau_spot3")
    gaps = ("t_gap12", "t_gap23")

    lspot1: Float[Array, ""] = duration(r"$\ell_1$", "length of the first plateau")
    tau_spot1: Float[Array, ""] = time_scale(r"$\tau_1$", "length of the first ramps")
    lspot2: Float[Array, ""] = duration(r"$\ell_2$", "length of the second plateau")
    tau_spot2: Float[Array, ""] = time_scale(r"$\tau_2$", "length of the second ramps")
    lspot3: Float[Array, ""] = duration(r"$\ell_3$", "length of the third plateau")
    tau_spot3: Float[Array, ""] = time_scale(r"$\tau_3$", "length of the third ramps")
    t_gap12: Float[Array, ""] = duration(r"$t_{12}$", "from the first to the second", default=0.0)
    t_gap23: Float[Array, ""] = duration(r"$t_{23}$", "from the second to the third", default=0.0)
