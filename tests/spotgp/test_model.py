"""The model of a spotted star: its parts, names, derived numbers and errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.polynomial.legendre import leggauss

from pytreefit import Posterior, param
from spotgp.star.envelope import AbstractEnvelope
from spotgp.star.finite_spots import FiniteSpotVisibilityFunction
from spotgp.star.latitude import GaussianBand, LatitudeBand
from spotgp.star.limb_darkening import LimbDarkenedVisibilityFunction
from spotgp.star.model import SpotEvolutionModel
from spotgp.star.trapezoid import TrapezoidSymmetricEnvelope
from spotgp.star.visibility import VisibilityFunction

ENVELOPE = TrapezoidSymmetricEnvelope(lspot=15.0, tau_spot=5.0)
VISIBILITY = VisibilityFunction(peq=10.0, kappa=0.3, inc=np.pi / 3)
MODEL = SpotEvolutionModel(envelope=ENVELOPE, visibility=VISIBILITY, sigma_k=0.01)
SPOTS = SpotEvolutionModel(ENVELOPE, VISIBILITY, nspot_rate=0.4, fspot=0.3, alpha_max=0.1)
NODE, WEIGHT = leggauss(40)
TURN = 2 * np.pi * (np.arange(2000) + 0.5) / 2000


def test_the_walkthrough_prints_what_it_should():
    assert MODEL.param_keys == ("peq", "kappa", "inc", "lspot", "tau_spot", "sigma_k")
    assert str(MODEL) == (
        "SpotEvolutionModel(\n"
        "  envelope=TrapezoidSymmetricEnvelope({'lspot': 15.0, 'tau_spot': 5.0}),\n"
        "  visibility=VisibilityFunction(peq=10.0, kappa=0.3, inc=1.047),\n"
        "  sigma_k=0.01\n"
        ")"
    )
    assert MODEL.param_dict == {
        "peq": 10.0,
        "kappa": 0.3,
        "inc": 1.0471975511965976,
        "lspot": 15.0,
        "tau_spot": 5.0,
        "sigma_k": 0.01,
    }
    assert (float(MODEL.peq), float(MODEL.kappa)) == (10.0, 0.3)
    assert float(MODEL.inc) == np.pi / 3


def test_names_paths_and_values_of_every_part():
    model = SpotEvolutionModel(
        ENVELOPE,
        LimbDarkenedVisibilityFunction(10.0, 0.3, 1.0, 0.4, 0.2),
        nspot_rate=0.4,
        fspot=0.3,
        alpha_max=0.1,
        latitude=LatitudeBand(0.1, 0.5),
    )
    assert model.paths == {
        "peq": "visibility.peq",
        "kappa": "visibility.kappa",
        "inc": "visibility.inc",
        "u1": "visibility.u1",
        "u2": "visibility.u2",
        "lspot": "envelope.lspot",
        "tau_spot": "envelope.tau_spot",
        "nspot_rate": "amplitude.nspot_rate",
        "fspot": "amplitude.fspot",
        "alpha_max": "amplitude.alpha_max",
        "lower": "latitude.lower",
        "upper": "latitude.upper",
    }
    assert model.param_keys == tuple(model.paths)
    assert "latitude=LatitudeBand(lower=0.1, upper=0.5)" in repr(model)
    assert "nspot_rate=0.4,\n  fspot=0.3,\n  alpha_max=0.1,\n" in repr(model)
    changed = model.set({"visibility.peq": 3.0, "latitude.upper": 0.6})
    assert (float(changed.peq), float(model.peq)) == (3.0, 10.0)
    assert changed.param_dict["upper"] == 0.6


def test_names_that_two_parts_share_are_paths():
    class Bell(AbstractEnvelope):
        alpha: jax.Array = param(bounds="(0, inf)", unit="d")

        def Gamma(self, t):
            return jnp.exp(-((t / self.alpha) ** 2))

    model = SpotEvolutionModel(Bell(2.0), FiniteSpotVisibilityFunction(4.0, 0.2, 1.0, 0.1), 0.01)
    assert model.param_keys == (
        "peq",
        "kappa",
        "inc",
        "visibility.alpha",
        "envelope.alpha",
        "sigma_k",
    )
    assert model.param_dict["envelope.alpha"] == 2.0


def test_variance_of_both_amplitudes():
    np.testing.assert_allclose(MODEL.variance, 1e-4)
    np.testing.assert_allclose(SPOTS.variance, 0.4 * 0.7**2 * 0.1**4)
    np.testing.assert_allclose(SPOTS.sigma_k**2, SPOTS.variance)


@pytest.mark.parametrize("latitude", [None, GaussianBand(0.4, 0.2)])
def test_mean_flux_and_effective_period_are_integrals(latitude):
    model = SpotEvolutionModel(
        ENVELOPE, VISIBILITY, nspot_rate=0.4, fspot=0.3, alpha_max=0.1, latitude=latitude
    )

    def weighted(f):
        def integrand(x):
            density = 1.0 if latitude is None else float(latitude.density(jnp.asarray(x)))
            return density * f(x)

        edges = (-np.pi / 2, -np.pi / 3, 0.0, np.pi / 3, np.pi / 2)
        total = 0.0
        for low, high in itertools.pairwise(edges):
            x = low + 0.5 * (high - low) * (1 + NODE)
            total += (
                0.5 * (high - low) * sum(w * integrand(y) for w, y in zip(WEIGHT, x, strict=True))
            )
        return total

    def longitudes(x):
        return np.cos(np.pi / 3) * np.sin(x) + np.sin(np.pi / 3) * np.cos(x) * np.cos(TURN)

    def c(x, n):
        return np.mean(np.maximum(longitudes(x), 0.0) * np.cos(n * TURN))

    mean = weighted(lambda x: c(x, 0)) / weighted(lambda x: 1.0)
    area = 15.0 + 2 * 5.0 / 3.0
    np.testing.assert_allclose(model.mean_flux(), 1 - 0.4 * 0.7 * 0.01 * area * mean, rtol=1e-6)
    power = weighted(lambda x: c(x, 1) ** 2)
    omega = weighted(lambda x: c(x, 1) ** 2 * 0.2 * np.pi * (1 - 0.3 * np.sin(x) ** 2)) / power
    np.testing.assert_allclose(model.effective_period(), 2 * np.pi / omega, rtol=1e-6)


def test_effective_period_is_continuous_towards_the_pole():
    period = jax.jit(lambda inc: MODEL.set({"visibility.inc": inc}).effective_period())
    pole = float(period(0.0))
    for inc in (1e-6, 1e-4, 1e-2):  # linear: so wide is the belt of spots that rise and set
        assert abs(float(period(inc)) / pole - 1) < 0.1 * inc
    for inc in (0.0, 1.0, np.pi / 2, np.pi):
        assert np.isfinite(jax.grad(period)(inc))
    rigid = MODEL.set({"visibility.kappa": 0.0})
    np.testing.assert_allclose(rigid.effective_period(), 10.0, rtol=1e-14)


def test_gradients_of_the_mean_agree_with_central_differences():
    names = SPOTS.param_keys

    @jax.jit
    def both(values):
        paths = (SPOTS.paths[name] for name in names)
        model = SPOTS.set(dict(zip(paths, values, strict=True)))
        return model.mean_flux() + 0.01 * model.effective_period()

    values = [SPOTS.get(SPOTS.paths[name]) for name in names]
    got = jax.grad(both)(values)
    for k, value in enumerate(values):
        h = 1e-5 * float(value)
        up, down = ([v + s * h * (j == k) for j, v in enumerate(values)] for s in (1, -1))
        difference = (both(up) - both(down)) / (2 * h)
        np.testing.assert_allclose(got[k], difference, rtol=1e-6, atol=1e-9, err_msg=names[k])


def test_batches_and_single_precision():
    rates = jnp.asarray([0.1, 0.4])
    many = jax.vmap(lambda r: SPOTS.set({"amplitude.nspot_rate": r}).mean_flux())(rates)
    np.testing.assert_allclose(many[1], SPOTS.mean_flux(), rtol=1e-15)
    flux, period = SPOTS.mean_flux(), SPOTS.effective_period()
    with jax.enable_x64(False):
        single = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), SPOTS)
        assert single.mean_flux().dtype == jnp.float32
        np.testing.assert_allclose(single.mean_flux(), flux, rtol=1e-6)
        np.testing.assert_allclose(single.effective_period(), period, rtol=1e-5)


def test_it_is_a_model_that_can_be_fitted():
    posterior = Posterior(
        MODEL,
        lambda model: -0.5 * (model.effective_period() - 11.0) ** 2,
        priors={"visibility.peq": (5.0, 20.0), "amplitude.sigma_k": dist.HalfNormal(0.1)},
    )
    assert posterior is not None
    with pytest.raises(ValueError, match=r"did you mean 'amplitude.sigma_k'"):
        Posterior(MODEL, lambda model: 0.0, priors={"sigma_k": (0.0, 1.0)})


def test_equations_of_all_parts_are_shown(capsys):
    equations = SPOTS.get_sympy()
    printed = capsys.readouterr().out
    names = ("TrapezoidSymmetricEnvelope", "VisibilityFunction", "SpotEvolutionModel")
    assert [line for line in printed.splitlines() if not line.startswith(" ")] == list(names)
    assert {"Gamma", "omega_0", "c_n", "k", "sigma_k"} <= set(equations)
    assert "sigma_k" not in MODEL.get_sympy()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "either as sigma_k or as nspot_rate, fspot and alpha_max, but got neither"),
        ({"sigma_k": 0.01, "fspot": 0.3}, "got sigma_k and fspot, which would set the amplitude"),
        ({"nspot_rate": 1.0, "fspot": 0.3}, "got nspot_rate, fspot without alpha_max"),
        ({"sigma_k": -0.01}, r"sigma_k = -0.01 is outside \(0, inf\)"),
        ({"nspot_rate": 1.0, "fspot": 0.3, "alpha_max": 2.0}, "alpha_max = 2 rad is outside"),
    ],
)
def test_bad_amplitudes_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        SpotEvolutionModel(ENVELOPE, VISIBILITY, **given)


def test_what_the_model_cannot_know_is_refused():
    with pytest.raises(ValueError, match="sigma_k alone does not fix the mean"):
        MODEL.mean_flux()
    with pytest.raises(TypeError, match="visibility is a TrapezoidSymmetricEnvelope but must be"):
        SpotEvolutionModel(ENVELOPE, ENVELOPE, 0.01)
