"""Checks of fits to several channels."""

import jax
import numpy as np
import pytest

import spotgp
from factories import make_star
from spotgp import ChannelSolver, FluxBand, RadialVelocity
from spotgp.checks.gaussian import Series
from spotgp.checks.statistics import Slots, curves_of, of_curves

RNG = np.random.default_rng(12)
T = np.sort(RNG.uniform(0.0, 40.0, 60))
V = np.sort(RNG.uniform(0.0, 40.0, 25))
CHANNELS = {"flux": FluxBand(), "rv": RadialVelocity(vsini=2000.0)}
PRIORS = {
    "peq": (3.0, 6.0),
    "kappa": None,
    "lspot": (3.0, 9.0),
    "tau_spot": None,
    "sigma_k": (0.003, 0.03),
    "vsini": None,
    "inc": None,
}
TIES = "strength of the covariance of flux and rv"


def process(flux, velocity):
    data = {"flux": (T, flux, 1e-3), "rv": (V, velocity, 2.0)}
    return ChannelSolver(data, make_star(), CHANNELS, priors=PRIORS, solver="dense")


@pytest.fixture(scope="module")
def drawn():
    draws = process(1.0 + 1e-3 * np.sin(T), np.sin(V)).sample_prior(
        {"flux": T, "rv": V}, jax.random.key(5), 1
    )
    noise = RNG.normal(size=T.size + V.size)
    return 1.0 + draws["flux"][0] + 1e-3 * noise[:60], draws["rv"][0] + 2.0 * noise[60:]


@pytest.fixture(scope="module")
def found(drawn):
    return spotgp.check(process(*drawn), draws=200)


def test_a_draw_of_the_model_passes(found):
    assert found.good
    assert 0.05 < found.p_value <= 1.0
    assert {"flux: skewness", "rv: skewness", TIES} <= set(found.names)
    assert "rv: residuals, mean square" in found.names
    assert np.all(np.isfinite(found.draws))
    # the draws of a score are of mean 0 and width 1
    ties = found.draws[:, found.names.index(TIES)]
    np.testing.assert_allclose([np.mean(ties), np.std(ties)], [0.0, 1.0], atol=0.25)
    assert spotgp.plot_check(found) is not None


def test_velocities_that_do_not_belong_to_the_light_curve_fail(drawn):
    flux, velocity = drawn
    other = spotgp.check(process(flux, -np.asarray(velocity)), draws=200)
    assert TIES in other.failing
    assert f"{TIES} is lower" in other.sentence


def test_noise_of_one_channel_that_the_model_lacks_fails(drawn):
    flux, velocity = drawn
    rough = spotgp.check(process(flux, velocity + 60.0 * RNG.normal(size=25)), draws=200)
    assert "rv: residuals, mean square" in rough.failing


def test_information_of_channels(drawn):
    flux, velocity = drawn
    joint = spotgp.fisher_information(process(flux, velocity))
    priors = {name: PRIORS[name] for name in PRIORS if name != "vsini"}
    options = {"priors": priors, "solver": "dense"}
    alone = spotgp.fisher_information(spotgp.GPSolver(T, flux, 1e-3, make_star(), **options))
    assert joint.names == alone.names
    own = {"flux": (T, flux, 1e-3)}
    one = ChannelSolver(own, make_star(), {"flux": FluxBand()}, **options)
    np.testing.assert_allclose(
        spotgp.fisher_information(one).matrix, alone.matrix, rtol=1e-3, atol=1e-3
    )
    # more data never tell less
    assert np.min(np.linalg.eigvalsh(joint.matrix - alone.matrix)) > -1e-6 * joint.matrix.max()


def test_no_lag_is_called_another():
    # as of velocities every second night, of a star that turns in three days
    time = np.arange(0.0, 60.0, 2.0)
    series = Series(time, time, time, np.ones((30, 1)))
    slots = Slots.of(series, 3.0)
    curves = curves_of(np.cos(time)[None], np.full(30, 1.0 / 30.0), slots)
    names = set(of_curves(curves, 3.0, slots.step))
    assert "autocorrelation at 2 P" in names  # three steps
    assert not names & {"autocorrelation at P/2", "autocorrelation at P", "autocorrelation at 3 P"}


@pytest.mark.parametrize("error", [1e-3, 3e-5])
def test_velocities_are_judged_whatever_the_unit_of_the_light_curve(error):
    """Of a diagonal in 1 / flux^2 and 1 / (m / s)^2 no entry is small against the others."""
    data = {"flux": (T, 1.0 + 0.01 * np.sin(T), error), "rv": (V, 40.0 * np.sin(V), 8.0)}
    gp = ChannelSolver(data, make_star(), CHANNELS, priors=PRIORS, solver="dense")
    found = spotgp.check(gp, draws=50)
    assert np.isfinite(found.draws).all()
    assert "rv: residuals, mean square" in found.names
    assert found.residuals[0].size == T.size + V.size


def test_two_instruments_that_measure_at_the_same_times():
    twice = {name: (V, 40.0 * np.sin(V), 2.0) for name in ("a", "b")}
    data = {"flux": (T, 1.0 + 0.01 * np.sin(T), 1e-3), "rv": twice}
    gp = ChannelSolver(data, make_star(), CHANNELS, priors=PRIORS, solver="dense")
    assert 0.0 < spotgp.check(gp, draws=50, points=40).p_value <= 1.0
