"""What is free by default and with which prior, as the components declare; starts of fits."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import spotgp
from factories import make_star
from pytreefit import param
from pytreefit.extend import inside, prior_limits
from spotgp import DataScales, GPSolver

DATA = DataScales(cadence=0.1, span=50.0, scatter=0.01, error=1e-3)
TIME = np.arange(0.0, 50.0, 0.5)
TIMES, REAL = (0.1, 150.0), (-np.inf, np.inf)
SPIN = {"peq": (0.2, 150), "kappa": (0, 0.95)}
FLUX = 1.0 + 0.01 * np.sin(1.5 * TIME)


class Granules(spotgp.AbstractTerm):
    """A user's term, of which nothing but the bounds is known."""

    depth: jnp.ndarray = param(bounds="(0, inf)")
    share: jnp.ndarray = param(bounds="[0, 1]")
    slope: jnp.ndarray = param()

    def tinygp_kernel(self):
        return spotgp.Matern32Term(self.depth, 1.0).tinygp_kernel()


def process(star=None, **options):
    return GPSolver(TIME, FLUX, 1e-3, star or make_star(), solver="dense", **options)


def test_scales_of_a_light_curve():
    scales = DataScales.of(TIME, FLUX, np.full(TIME.size, 2e-3))
    np.testing.assert_allclose(scales, (0.5, 49.5, np.std(FLUX), 2e-3))


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (spotgp.TrapezoidSymmetricEnvelope(6.0, 2.0), {"lspot": TIMES, "tau_spot": TIMES}),
        (spotgp.SkewedGaussianEnvelope(2.0, 1.0), {"sigma_sn": TIMES, "n_sn": REAL}),
        (spotgp.ModulatedGammaEnvelope(2.0, 3.0), {"alpha": (1e-3, 1e3), "tau": TIMES}),
        (spotgp.VisibilityFunction(4.0, 0.2, 1.0), {**SPIN, "inc": (0, np.pi / 2)}),
        (spotgp.EdgeOnVisibilityFunction(4.0, 0.2), SPIN),
        (spotgp.FiniteSpotVisibilityFunction(4.0, 0.2, 2.0, 0.1), {**SPIN, "inc": (0, np.pi)}),
        (spotgp.LatitudeBand(0.1, 0.5), {}),
        (spotgp.SHOTerm(1e-3, 0.5), {"sigma": (1e-5, 0.3), "rho": TIMES}),
        (Granules(1.0, 0.5, -2.0), {"depth": (1e-3, 1e3), "share": (0, 1), "slope": REAL}),
        (spotgp.LinearMean(), {"value": REAL, "slope": REAL}),
    ],
    ids=lambda x: type(x).__name__,
)
def test_components_declare_their_priors(component, expected):
    found = {k: prior_limits(prior) for k, prior in component.default_priors(DATA).items()}
    assert found.keys() == expected.keys()
    for name, limits in expected.items():
        np.testing.assert_allclose(found[name], limits, rtol=1e-6)


def test_what_is_free():
    star = make_star(spotgp.DoubleTrapezoidEnvelope(3.0, 1.0))
    terms = {"short": Granules(1e-2, 0.5, 0.0)}
    gp = process(star, jitter=1e-3, terms=terms, mean=spotgp.LinearMean())
    expected = "peq kappa inc lspot tau_spot sigma_k value slope terms.short.slope"
    short = [name.rpartition(".")[2] for name in gp.param_keys]
    # the gap of 0 is at the edge of its range, and fixed
    assert "t_gap" not in short
    assert "t0" not in short
    assert set(expected.replace("terms.short.", "").split()) < set(short)
    population = spotgp.SpotEvolutionModel(
        star.envelope, star.visibility, nspot_rate=0.4, fspot=0.3, alpha_max=0.1
    )
    assert process(population).param_keys[-1] == "nspot_rate"


def test_tied_parameters():
    tied = {("lspot", "model.envelope.tau_spot"): (1.0, 9.0), "kappa": None}
    gp = process(priors=tied)
    assert gp.param_keys == ("peq", "inc", "lspot", "sigma_k")
    curve = gp.process_at({"lspot": 3.0})
    assert float(curve.get("model.envelope.tau_spot")) == 3.0
    assert np.isfinite(gp.log_posterior({"lspot": 3.0}))
    fixed = process(priors={("lspot", "tau_spot"): None})
    assert fixed.param_keys == ("peq", "kappa", "inc", "sigma_k")
    with pytest.raises(ValueError, match="lspot"):
        process(priors={("lspot", "tau_spot"): (1.0, 9.0), "lspot": (1.0, 5.0)})


def test_starts_have_the_life_time():
    for envelope in (
        spotgp.ExponentialAsymmetricEnvelope(1.0, 3.0),
        spotgp.SkewedGaussianEnvelope(2.0, 1.0),
        spotgp.ModulatedGammaEnvelope(2.0, 3.0),
    ):
        (start,) = envelope.starts(5.0, 20.0)
        np.testing.assert_allclose(start.Gamma_hat(0.0), 20.0, rtol=1e-6)
    short, long = spotgp.TrapezoidAsymmetricEnvelope(1.0, 2.0, 3.0).starts(5.0, 20.0)
    assert short.param_dict == {"lspot": 5.0, "tau_em": 15.0, "tau_dec": 15.0}
    assert long.param_dict == {"lspot": 15.0, "tau_em": 5.0, "tau_dec": 5.0}
    assert len(spotgp.EdgeOnVisibilityFunction(4.0, 0.2).starts(5.0)) == 4
    star = spotgp.SpotEvolutionModel(
        short, make_star().visibility, nspot_rate=0.4, fspot=0.3, alpha_max=0.1
    ).start(5.0, 20.0, 0.02)
    np.testing.assert_allclose(star.sigma_k, 0.02)
    assert float(star.peq) == 5.0


def test_values_inside_of_a_prior_stay():
    for low, high, value in (
        (0.04, 120.0, 0.24),
        (0.0, 0.7, 0.1),
        (-3.0, 5.0, 0.0),
        (9.0, 9.1, 9.05),
    ):
        assert inside(value, low, high) == value
        assert low < inside(low - 1.0, low, high) < low + 0.02 * (high - low)
        assert high > inside(high + 1.0, low, high) > high - 0.02 * (high - low)
    assert inside(0.01, 0.04, 120.0) < 0.041
    assert inside(-1.0, 0.0, math.inf) == 0.0
