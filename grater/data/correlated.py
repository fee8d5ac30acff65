"""Gaussian noise of correlated pixels, through a sparse inverse Cholesky factor."""

import functools
from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.core import Tracer
from jax.scipy.linalg import cho_solve, cholesky
from jaxtyping import Array, Bool, Float, Int, Key

from pytreefit import Posterior, fit, jit, param
from pytreefit.extend import as_whole_number, check_kind, inline

from .correlation import AbstractCorrelation, MaternCorrelation, noise_image
from .noise import AbstractGaussianNoise, AbstractNoise, GaussianNoise
from .observation import Observation

_ROUND = 512
_ERROR = 3.0  # of a log-likelihood, from which a fit says so


@functools.cache
def _neighbours(reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (x, y) of the pixels before one in reading order, up to a distance; nearest first."""
    y, x = (values.ravel() for values in np.mgrid[-reach:1, -reach : reach + 1])
    distance = np.hypot(x, y)
    before = ((y < 0) | (x < 0)) & (distance <= reach + 1e-9)
    order = np.lexsort((x[before], distance[before]))
    return x[before][order], y[before][order]


class Whitening(NamedTuple):
    r"""A sparse inverse Cholesky factor of the correlation of the pixels in use.

    Each pixel is predicted from its neighbours before it: :math:`r_i = (z_i - \sum_k b_{ik}
    z_{i+k}) / s_i` are independent and of variance 1 where :math:`z` has the correlation.
    """

    weights: Float[Array, "k ny nx"]  # b / s
    inverse: Float[Array, "ny nx"]  # 1 / s, 1 in masked pixels

    def __call__(self, z: Float[Array, "ny nx"], reach: int) -> Float[Array, "ny nx"]:
        """Independent values from correlated ones, which are 0 in masked pixels."""
        return _whitened(self, z, reach)


# compiled, for one by one each neighbour's part of the image would be a program of its own
@jit
def _whitened(whitening: Whitening, z, reach: int):
    ny, nx = z.shape
    padded = jnp.pad(z, ((reach, 0), (reach, reach)))
    found = whitening.inverse * z
    for weight, x, y in zip(whitening.weights, *_neighbours(reach), strict=True):
        found = found - weight * padded[reach + y : reach + y + ny, reach + x : reach + x + nx]
    return found


class Patterns(NamedTuple):
    """Which neighbours of each pixel are in use: few kinds of them, and the kind of each pixel."""

    kinds: Bool[Array, "kind k"]
    kind: Int[Array, "ny nx"]

    @classmethod
    def of(cls, mask: Bool[Array, "ny nx"], reach: int) -> "Patterns":
        """Those of a mask; where that is traced, each pixel is a kind of its own."""
        if mask.ndim != 2:
            raise TypeError(
                "CorrelatedNoise is for one image (ny, nx), not for a sequence of frames: give "
                "that GaussianNoise."
            )
        xp: Any = jnp if isinstance(mask, Tracer) else np
        mask = xp.asarray(mask)
        ny, nx = mask.shape
        padded = xp.pad(mask, ((reach, 0), (reach, reach)))
        rows = [
            padded[reach + y : reach + y + ny, reach + x : reach + x + nx] & mask
            for x, y in zip(*_neighbours(reach), strict=True)
        ]
        each = xp.stack(rows, axis=-1).reshape(ny * nx, -1)
        if xp is jnp:
            return cls(each, jnp.arange(ny * nx).reshape(ny, nx))
        packed, kind = np.unique(np.packbits(each, axis=1), axis=0, return_inverse=True)
        kinds = np.unpackbits(packed, axis=1, count=each.shape[1]).astype(bool)
        # up to a round number, so that other masks share programs
        kinds = np.pad(kinds, ((0, -len(kinds) % _ROUND), (0, 0)))
        return cls(jnp.asarray(kinds), jnp.asarray(kind.reshape(ny, nx)))


class WhitenedNoise(NamedTuple):
    """Correlated noise whose whitening is known. It has the methods that a likelihood needs."""

    noise: "CorrelatedNoise"
    whitening: Whitening
    mask: Bool[Array, "ny nx"]

    @property
    def normalization_needs_model(self) -> bool:
        """Whether `log_normalization` depends on the model's image."""
        return self.noise.noise.normalization_needs_model

    def log_likelihood(self, image, model, error, mask) -> Float[Array, ""]:
        """Log-likelihood of all pixels in use together."""
        image, model = (jnp.where(mask, values, 0.0) for values in (image, model))
        error = jnp.where(mask, error, 1.0)
        residuals = self.residuals(image, model, error, mask)
        normalization = self.log_normalization(model, error, mask)
        return jnp.sum(normalization) - 0.5 * jnp.sum(jnp.square(residuals))

    def residuals(self, image, model, error, mask) -> Float[Array, " n"]:
        """What is left of each pixel's residual once its neighbours' have predicted it."""
        return self._white(self.noise.noise.residuals(image, model, error, mask), mask)

    def log_normalization(self, model, error, mask) -> Float[Array, " n"]:
        """The noise's own, and the logarithm of how well neighbours predict each pixel."""
        own = self.noise.noise.log_normalization(model, error, mask)
        return own + jnp.ravel(jnp.log(self.whitening.inverse))

    def without(self, image, model, error, mask):
        """The image: no starlight is part of this noise."""
        return image

    def whitened(self, light, model, error, mask):
        """What light adds to `residuals` times a factor, and the factor."""
        rows, factor = self.noise.noise.whitened(light, model, error, mask)
        return self._white(rows, mask), factor

    def _white(self, residuals, mask):
        found = self.whitening(residuals.reshape(mask.shape), self.noise.reach)
        # other pixels in use would need another whitening
        same = jnp.all(mask == self.mask)
        return jnp.ravel(jnp.where(same, found, jnp.nan))


class Plan(eqx.Module):
    """What a posterior works out once of the noise of an image."""

    mask: Bool[Array, "ny nx"]
    known: Whitening | Patterns  # these where the correlation has free parameters
    of: tuple[Array, ...]  # numbers of the correlation for which the whitening is

    def noise(self, noise: "CorrelatedNoise") -> WhitenedNoise:
        """The noise with its whitening, which is worked out here if it may change."""
        known = self.known
        if isinstance(known, Patterns):
            return WhitenedNoise(noise, noise.whitening(known), self.mask)
        same = jnp.stack([jnp.all(a == b) for a, b in zip(self.of, noise._numbers(), strict=True)])
        inverse = jnp.where(jnp.all(same), known.inverse, jnp.nan)
        return WhitenedNoise(noise, known._replace(inverse=inverse), self.mask)


class CorrelatedNoise(AbstractNoise):
    r"""Gaussian noise whose pixels are correlated, as those of real images are.

    .. math:: d - m \sim N(0, D C D), \qquad C_{ij} = (1 - w)\, \rho(x_i - x_j, y_i - y_j) + w\,
              \delta_{ij}

    with the widths :math:`D` of the noise it is made of, a correlation :math:`\rho` and the part
    :math:`w` of the variance that is white. With independent noise in its place the errors of a fit
    are too small: neighbouring pixels that scatter together count as several measurements.

    The inverse of C is written as a product of sparse factors: each pixel is predicted from those
    of the pixels before it, in reading order, that are in use and within ``reach``. This is an
    exact density of nearly this correlation, for masks of any shape; `error` says how near. Fits
    are least-squares fits still. In a `Posterior` whose correlation is fixed the factors are worked
    out once, and its likelihood is NaN for models of another correlation; a free length or white
    part takes longer.

    Parameters
    ----------
    correlation : AbstractCorrelation
        `MaternCorrelation`, `GaussianCorrelation` or `TableCorrelation`. Its parameters are at the
        noise's own paths: ``"noise.length"``.
    white : float
        :math:`w`, 0 to 1: photon noise, which the PSF does not smooth.
    noise : AbstractGaussianNoise
        Gives the width of each pixel; its parameters too are at the noise's paths
        (``"noise.scale"``).
    reach : int
        Distance of the neighbours in pixels, >= 1.

    Raises
    ------
    ValueError, TypeError
        For parts of the wrong kind and values out of bounds.

    References
    ----------
    Vecchia 1988, J. R. Stat. Soc. B 50, 297; Katzfuss & Guinness 2021, Stat. Sci. 36, 124.

    Examples
    --------
    >>> noise = CorrelatedNoise(MaternCorrelation(1.5), white=0.25)
    >>> float(noise.get("length")), float(noise.get("white")), float(noise.get("scale"))
    (1.5, 0.25, 1.0)
    """

    correlation: AbstractCorrelation = inline()
    white: Array = param(bounds="[0, 1]", label="$w$", doc="white part of the variance")
    noise: AbstractGaussianNoise = inline()
    reach: int = eqx.field(static=True)

    def __init__(
        self,
        correlation: AbstractCorrelation,
        white: Any = 0.1,
        noise: AbstractGaussianNoise | None = None,
        reach: int = 5,
    ):
        self.correlation = correlation
        self.white = white
        self.noise = GaussianNoise() if noise is None else noise
        self.reach = as_whole_number("CorrelatedNoise.reach", reach, 1)

    def __check_init__(self):
        check_kind("CorrelatedNoise.correlation", self.correlation, AbstractCorrelation)
        check_kind("CorrelatedNoise.noise", self.noise, AbstractGaussianNoise)

    def whitening(self, patterns: Patterns) -> Whitening:
        """The sparse factor for the pixels in use."""
        return _whitening(self, patterns)

    def error(self, mask: Bool[Array, "ny nx"]) -> Float[Array, ""]:
        r"""How far the log-likelihood may be from that of the correlation itself.

        .. math:: \epsilon = K + 3 \sqrt{2 K}, \qquad K = \langle \ln p_C - \ln p \rangle

        the mean and three standard deviations over draws of the noise, where K is small. K is found
        from twice the reach in a field without masked pixels. It falls with a larger ``reach`` or
        ``white``.
        """
        loss = jnp.sum(mask, dtype=float) * _loss(self)
        return loss + 3.0 * jnp.sqrt(2.0 * loss)

    def plan(self, mask, varied: Any) -> Plan | None:
        if isinstance(mask, Tracer):
            return None
        own = self._numbers()
        fixed = all(one is also for one, also in zip(own, varied._numbers(), strict=True))
        patterns = Patterns.of(mask, self.reach)
        return Plan(jnp.asarray(mask), self.whitening(patterns) if fixed else patterns, own)

    def _numbers(self) -> tuple[Array, ...]:
        """The numbers on which the whitening depends."""
        return tuple(jax.tree.leaves((self.correlation, self.white)))

    def remark(self, mask) -> str:
        error = float(self.error(mask))
        if error < _ERROR:
            return ""
        return (
            f"CorrelatedNoise with reach = {self.reach} may be off by {error:.2g} in "
            "log-likelihood: take a larger reach."
        )

    @classmethod
    def measured(
        cls,
        image: Any,
        error: Any = 1.0,
        mask: Any = None,
        *,
        correlation: AbstractCorrelation | None = None,
        reach: int = 5,
    ) -> Self:
        r"""Return the noise that an image without a disk has most probably.

        Length, white part and scale of the errors are fitted together, by maximum likelihood.

        Parameters
        ----------
        image, error, mask
            Noise alone (:math:`U_\phi`, a blank sky, residuals of a fit), its error map, and True
            where a pixel is used, as for `pixel_correlation`.
        correlation : AbstractCorrelation, optional
            Where to start; by default a `MaternCorrelation`. A `TableCorrelation` stays as it is.
        reach : int
            As for `CorrelatedNoise`.

        Raises
        ------
        ValueError, TypeError
            As `pixel_correlation`.
        """
        start = MaternCorrelation(1.5) if correlation is None else correlation
        check_kind("measured: correlation", start, AbstractCorrelation)
        z, used = noise_image("CorrelatedNoise.measured", image, error, mask)
        scale = float(np.sqrt(np.mean(np.square(z[used]))))
        noise = cls(start, 0.3, GaussianNoise(scale), reach)
        priors = {"white": (0.0, 1.0), "scale": dist.LogUniform(0.1 * scale, 10.0 * scale)}
        only = _NoiseAlone(jnp.asarray(z, float), jnp.asarray(used), None)
        posterior = Posterior(noise, only.log_likelihood, start.default_priors() | priors)
        return fit(posterior, progress=False).model

    @classmethod
    def of_residuals(cls, scene: Any, observation: Observation, reach: int = 5) -> Self:
        """Return the scene's noise with the correlation that the residuals of a fit have.

        For a second fit, from where the first one with independent noise ended. The widths are
        those of the scene's noise.

        Parameters
        ----------
        scene, observation
            The best model, and the data of one image.
        reach : int
            As for `CorrelatedNoise`.

        Raises
        ------
        ValueError, TypeError
            For noise that is not an `AbstractGaussianNoise`, and as `measured`.
        """
        check_kind("of_residuals: observation", observation, Observation)
        noise = observation.seen(scene).noise
        check_kind("of_residuals: scene.noise", noise, AbstractGaussianNoise)
        rest = np.asarray(observation.residuals(scene))[: observation.image.size]
        z = rest.reshape(observation.shape)
        found = cls.measured(z, 1.0, observation.used, reach=reach)
        return cls(found.correlation, found.white, noise, reach)

    normalization_needs_model: ClassVar[bool] = True

    def width(self, model, error):
        return self.noise.width(model, error)

    def log_density(self, image, model, error):
        """Of each pixel, given those before it."""
        every = jnp.ones(error.shape, bool)
        known = self._known(every)
        residuals = known.residuals(image, model, error, every)
        density = known.log_normalization(model, error, every) - 0.5 * jnp.square(residuals)
        return density.reshape(error.shape)

    def log_likelihood(self, image, model, error, mask):
        return self._known(mask).log_likelihood(image, model, error, mask)

    def residuals(self, image, model, error, mask):
        return self._known(mask).residuals(image, model, error, mask)

    def log_normalization(self, model, error, mask):
        return self._known(mask).log_normalization(model, error, mask)

    def whitened(self, light, model, error, mask):
        return self._known(mask).whitened(light, model, error, mask)

    def draw(self, key: Key[Array, ""], model, error):
        """One random image; its correlation is exact up to the size of the image."""
        shape = tuple(2 * n for n in error.shape)
        lags = (jnp.asarray(np.fft.fftfreq(n, 1.0 / n), error.dtype) for n in shape)
        y, x = jnp.meshgrid(*lags, indexing="ij")
        smooth = (1.0 - self.white) * self.correlation.at(x, y)
        power = jnp.maximum(jnp.fft.rfft2(smooth.at[0, 0].add(self.white)).real, 0.0)
        white = jnp.fft.rfft2(jax.random.normal(key, shape, error.dtype))
        root = jnp.sqrt(power)
        correlated = jnp.fft.irfft2(white * jax.lax.complex(root, jnp.zeros_like(root)), s=shape)
        ny, nx = error.shape
        return model + self.width(model, error) * correlated[:ny, :nx]

    def _known(self, mask) -> WhitenedNoise:
        return WhitenedNoise(self, self.whitening(Patterns.of(mask, self.reach)), mask)

    def _covariances(self, reach):
        """Covariance of the neighbours with each other, (k, k), and with the pixel, (k,)."""
        dtype = self.white.dtype
        x, y = (jnp.asarray(offset, dtype) for offset in _neighbours(reach))
        among = (1.0 - self.white) * self.correlation.at(
            x[:, None] - x[None, :], y[:, None] - y[None, :]
        )
        # rounding shall not make it singular
        white = self.white + 64.0 * jnp.finfo(dtype).eps
        return among + white * jnp.eye(len(x), dtype=dtype), (
            1.0 - self.white
        ) * self.correlation.at(x, y)


@jit
def _whitening(noise: CorrelatedNoise, patterns: Patterns) -> Whitening:
    solve = functools.partial(_predict, *noise._covariances(noise.reach))
    # one after the other: batches of LAPACK's calls may wait for each other for ever (jaxlib
    # 0.10 on few cores)
    weights, inverse = jax.lax.map(solve, patterns.kinds)
    weights = (weights * inverse[:, None])[patterns.kind]
    return Whitening(jnp.moveaxis(weights, -1, 0), inverse[patterns.kind])


@jit
def _loss(noise: CorrelatedNoise) -> Float[Array, ""]:
    """Of log-likelihood for each pixel, by the neighbours that are left out."""
    variances = []
    for reach in (noise.reach, 2 * noise.reach):
        covariances = noise._covariances(reach)
        every = jnp.ones(len(covariances[1]), bool)
        variances.append(-2.0 * jnp.log(_predict(*covariances, every)[1]))
    return 0.5 * jnp.maximum(variances[0] - variances[1], 0.0)


def _predict(among, towards, used):
    """Weights of the neighbours in use for predicting a pixel, and 1 / s of what is left."""
    both = used[:, None] & used[None, :]
    matrix = jnp.where(both, among, jnp.eye(len(used), dtype=among.dtype))
    towards = jnp.where(used, towards, 0.0)
    root = cholesky(jax.lax.stop_gradient(matrix), lower=True)
    weights = jax.lax.custom_linear_solve(
        lambda x: matrix @ x, towards, lambda _, b: cho_solve((root, True), b), symmetric=True
    )
    return weights, jax.lax.rsqrt(1.0 - towards @ weights)


class _NoiseAlone(eqx.Module):
    """An image of noise, in units of its errors, as data of a noise model."""

    image: Float[Array, "ny nx"]
    mask: Bool[Array, "ny nx"]
    plan: Plan | None

    def prepared(self, noise, varied) -> "_NoiseAlone":
        return _NoiseAlone(self.image, self.mask, noise.plan(self.mask, varied))

    def _seen(self, noise, method):
        seen = noise if self.plan is None else self.plan.noise(noise)
        return functools.partial(getattr(seen, method), mask=self.mask)

    def log_likelihood(self, noise) -> Float[Array, ""]:
        ones = jnp.ones_like(self.image)
        return self._seen(noise, "log_likelihood")(self.image, jnp.zeros_like(ones), ones)

    def residuals(self, noise) -> Float[Array, " n"]:
        ones = jnp.ones_like(self.image)
        return self._seen(noise, "residuals")(self.image, jnp.zeros_like(ones), ones)

    def log_normalization(self, noise) -> Float[Array, " n"]:
        ones = jnp.ones_like(self.image)
        return self._seen(noise, "log_normalization")(jnp.zeros_like(ones), ones)
