"""Transits: against a sum over the disk and a covariance by hand."""

import sys

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import spotgp
from factories import make_star
from spotgp import AnalyticKernel, GPSolver, Transit
from spotgp.starts.suggest import _spots_alone

PLANET = {
    "period": 3.5,
    "conjunction": 1.2,
    "radius_ratio": 0.15,
    "impact": 0.4,
    "scaled_axis": 6.0,
    "u1": 0.4,
    "u2": 0.2,
}
T = np.sort(np.random.default_rng(2).uniform(0.0, 14.0, 60))


@pytest.fixture(scope="module", autouse=True)
def _jaxoplanet():
    pytest.importorskip("jaxoplanet")


def occulted(z, p, u1, u2):
    """Share of the light of a disk that is left, by a sum over the planet's own disk."""
    radius = p * (np.arange(800) + 0.5)[:, None] / 800
    angle = 2.0 * np.pi * (np.arange(1500) + 0.5)[None, :] / 1500
    square = (z + radius * np.cos(angle)) ** 2 + (radius * np.sin(angle)) ** 2
    mu = np.sqrt(np.maximum(1.0 - square, 0.0))
    light = (square < 1.0) * (1.0 - u1 * (1.0 - mu) - u2 * (1.0 - mu) ** 2)
    taken = np.sum(light * radius) * (p / 800) * (2.0 * np.pi / 1500)
    return 1.0 - taken / (np.pi * (1.0 - u1 / 3.0 - u2 / 6.0))


@pytest.mark.parametrize("lag", [0.0, 0.06, 0.088, 0.1])
def test_the_light_that_is_left(lag):
    planet = Transit(**PLANET)
    t = np.array([PLANET["conjunction"] + lag + 2.0 * PLANET["period"]])
    angle = 2.0 * np.pi * lag / PLANET["period"]
    z = np.hypot(6.0 * np.sin(angle), 0.4 * np.cos(angle))
    np.testing.assert_allclose(planet.distance(t), z, rtol=1e-10)
    np.testing.assert_allclose(planet(t), occulted(z, 0.15, 0.4, 0.2), atol=2e-6)


def test_behind_the_star_and_beside_it():
    planet = Transit(**PLANET, level=1.01)
    phase = np.array([0.5, 0.3, -0.25, 0.04])
    np.testing.assert_allclose(planet(1.2 + 3.5 * phase), 1.01, rtol=1e-12)


def test_exposures_average():
    t = 1.2 + np.linspace(-0.15, 0.15, 7)
    short, averaged = Transit(**PLANET), Transit(**PLANET, exposure_time=0.04)
    fine = t[:, None] + 0.04 * ((np.arange(400) + 0.5) / 400 - 0.5)[None, :]
    expected = np.asarray(short(fine.ravel())).reshape(fine.shape).mean(axis=1)
    np.testing.assert_allclose(averaged(t), expected, atol=1e-4)
    assert np.max(np.abs(np.asarray(short(t)) - expected)) > 5e-4


def gradient_of(function, at, step):
    return (function(at + step) - function(at - step)) / (2.0 * step)


def test_exposures_of_the_star_are_those_of_the_transit():
    given = {"solver": "dense", "exposure_time": 0.04}
    flux = np.asarray(Transit(**PLANET)(T))
    with pytest.raises(ValueError, match=r"Transit is of short exposures: give it exposure_time"):
        GPSolver(T, flux, 1e-3, make_star(kappa=0.0), mean=Transit(**PLANET), **given)
    planet = Transit(**PLANET, exposure_time=0.04)
    assert GPSolver(T, flux, 1e-3, make_star(kappa=0.0), mean=planet, **given).data.exposure > 0.0


def test_the_star_is_dimmed_with_its_spots():
    planet, star = Transit(**PLANET), make_star()
    priors = dict.fromkeys(("peq", "kappa", "inc", "lspot", "tau_spot", "scaled_axis"))
    flux = np.asarray(planet(T)) * (1.0 + 0.02 * np.sin(T))
    gp = GPSolver(T, flux, 1e-3, star, mean=planet, priors=priors, solver="dense")
    mean = np.asarray(planet(T))
    kernel = np.asarray(AnalyticKernel(star).kernel(T[:, None] - T[None, :]))
    matrix = mean[:, None] * kernel * mean[None, :] + 1e-6 * np.eye(T.size)
    expected = multivariate_normal(mean, matrix).logpdf(flux)
    np.testing.assert_allclose(gp.log_likelihood(), expected, atol=1e-3)
    names = ("sigma_k", "period", "conjunction", "radius_ratio", "impact", "level")
    assert gp.param_keys == names
    gradient = dict(zip(names, gp.grad_log_posterior(), strict=True))
    for name in ("sigma_k", "radius_ratio", "level", "conjunction"):
        start = float(gp.values()[next(n for n in gp.posterior.names if n.endswith(name))])
        found = gradient_of(lambda x, n=name: float(gp.log_posterior({n: x})), start, 2e-6)
        np.testing.assert_allclose(gradient[name], found, rtol=2e-4, atol=1e-2)
    weights = np.linalg.solve(matrix, flux - mean)
    np.testing.assert_allclose(gp.predict().mean, flux - 1e-6 * weights, atol=1e-6)


def test_a_conjunction_that_counts_from_another_zero():
    far = Transit(**PLANET | {"conjunction": 2458325.32})
    with pytest.warns(UserWarning, match=r"mean.conjunction = 2458325.32 is more than 100,000 d"):
        GPSolver(T, np.ones(60), 1e-3, make_star(), mean=far, solver="dense")


def test_starts_are_found_without_the_transits():
    t = np.arange(0.0, 40.0, 0.1)
    planet, spots = Transit(**PLANET, level=2.0), 0.004 * np.sin(2.0 * np.pi * t / 9.0)
    flux = np.asarray(planet(t)) * (1.0 + spots)
    options = {"solver": "dense", "priors": dict.fromkeys(("kappa", "lspot", "tau_spot"))}
    gp = GPSolver(t, flux, 1e-3, make_star(), mean=planet, **options)
    time, found, error = _spots_alone(gp)
    np.testing.assert_allclose(time + 0.5 * t[-1], t, atol=1e-12)
    np.testing.assert_allclose(found, spots - np.mean(spots), atol=1e-3)
    np.testing.assert_allclose(error, 1e-3 / np.asarray(planet(t)))
    line = GPSolver(t, 3.0 + 0.1 * t + spots, 1e-3, make_star(), mean=spotgp.LinearMean(3.0, 0.1))
    np.testing.assert_allclose(_spots_alone(line)[1], spots - np.mean(spots), atol=1e-12)
    starts = spotgp.suggest_starts(gp, lifetimes=[10.0])
    periods = np.array([values["model.visibility.peq"] for values in starts])
    assert np.any(np.abs(periods / 9.0 - 1.0) < 0.05)
    assert not np.any(np.abs(periods / PLANET["period"] - 1.0) < 0.05)


def test_who_does_not_take_it():
    planet = Transit(**PLANET)
    priors = {"lspot": (3.0, 7.0), "tau_spot": (1.0, 3.0), "sigma_k": None}
    fixed = GPSolver(
        T, np.ones(60) + 0.01 * np.sin(T), 1e-3, make_star(), mean=planet, priors=priors
    )
    assert fixed.solver.name in ("dense", "banded")
    with pytest.raises(ValueError, match="no mean that multiplies"):
        GPSolver(T, np.ones(60), 1e-3, make_star(), mean=planet, priors=priors, solver="bins")
    flat = make_star(spotgp.ExponentialEnvelope(3.0), kappa=0.0)
    with pytest.raises(ValueError, match="no mean that multiplies"):
        GPSolver(T, np.ones(60), 1e-3, flat, mean=planet, solver="quasiseparable")
    with pytest.raises(ValueError, match="multiplies the star's light"):
        spotgp.ChannelSolver(
            {"flux": (T, np.ones(60), 1e-3)},
            make_star(),
            {"flux": spotgp.FluxBand()},
            means={"flux": planet},
        )


def test_without_jaxoplanet(monkeypatch):
    monkeypatch.setitem(sys.modules, "jaxoplanet.core.limb_dark", None)
    with pytest.raises(ImportError, match=r"grater-spotgp\[transit\]"):
        Transit(**PLANET)(T)


@pytest.mark.parametrize(
    ("changes", "match"),
    [({"u1": 0.9, "u2": 0.3}, "add up"), ({"scaled_axis": 0.5}, "scaled_axis"),
     ({"exposure_time": -1.0}, "exposure_time"), ({"radius_ratio": -0.1}, "radius_ratio")],
)  # fmt: skip
def test_bad_input(changes, match):
    with pytest.raises(ValueError, match=match):
        Transit(**{**PLANET, **changes})


def test_gradients_are_finite_at_mid_transit():
    centre = Transit(**{**PLANET, "impact": 0.0})
    t = np.array([1.2, 1.25])
    slopes = jax.grad(lambda planet: planet(t).sum())(centre)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_transits_are_not_added():
    planet = Transit(**PLANET)
    with pytest.raises(ValueError, match=r"SumMean\.parts\['b'\] is a Transit, which multiplies"):
        spotgp.SumMean({"b": planet, "trend": spotgp.LinearMean()})
