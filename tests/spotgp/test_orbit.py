"""Kepler's equation against long doubles, orbits against Newton's law of gravitation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy import units
from scipy.integrate import solve_ivp

import spotgp
from factories import make_star
from spotgp.gp.orbit import eccentric_anomaly

YEAR = 365.2568983  # days: 2 pi over the Gaussian constant
T = np.linspace(-13.0, 21.0, 60)
PLANET = spotgp.Keplerian(4.3, 50.0, 1.2, 0.6, -2.0)


def test_keplers_equation_to_rounding():
    e = np.concatenate([np.linspace(0.0, 0.99, 34), [1e-6, 1e-3, 0.985, 0.9999]])
    small = np.geomspace(1e-12, np.pi, 300)
    anomaly = np.concatenate([-small, small, np.linspace(-np.pi, np.pi, 501)])
    anomaly, e = (a.ravel() for a in np.meshgrid(anomaly, e))
    found = np.asarray(jax.jit(eccentric_anomaly)(anomaly, e))
    # Newton's method from above, which cannot overshoot, in long doubles
    size, wide, E = np.abs(anomaly.astype(np.longdouble)), e.astype(np.longdouble), np.pi
    for _ in range(200):
        E = E - (E - wide * np.sin(E) - size) / (1 - wide * np.cos(E))
    # one unit in the last place of M and of e
    unit = np.finfo(float).eps * (np.abs(anomaly) + e * np.sin(E)) / (1 - e * np.cos(E))
    assert np.all(np.abs(np.abs(found) - E) <= unit + np.finfo(float).eps * E)
    assert np.all(np.sign(found) == np.sign(anomaly))


@pytest.mark.parametrize("e", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("turns", [-10.0, 0.0, 10.0])
def test_many_orbits_away(e, turns):
    near = spotgp.Keplerian(4.0, 50.0, 1.0, e, 0.7)
    t = np.linspace(0.0, 4.0, 50)
    # times of 40 d have 7e-15 d of rounding; near periastron the velocity changes fast
    steep = 50.0 / (1 - e) ** 2
    np.testing.assert_allclose(near(t + 4.0 * turns), near(t), atol=1e-12 * steep)


@pytest.mark.parametrize(("e", "omega"), [(0.0, 0.0), (0.3, 1.0), (0.6, -2.0), (0.9, 2.8)])
def test_orbits_obey_gravitation(e, omega):
    """The star's velocity along the line of sight, from Newton's law and a start at periastron."""
    period = 4.3
    planet = spotgp.Keplerian(period, 50.0, 1.2, e, omega)
    mean_motion = 2 * np.pi / period
    # star about the centre of mass, semi-major axis 1, x towards periastron
    speed = mean_motion * np.sqrt((1 + e) / (1 - e))
    start = [1 - e, 0.0, 0.0, speed]

    def motion(t, state):
        r = np.hypot(state[0], state[1])
        return [state[2], state[3], *(-(mean_motion**2) * np.array(state[:2]) / r**3)]

    t = np.linspace(0.0, 2 * period, 40)
    orbit = solve_ivp(motion, (0, t[-1]), start, t_eval=t, rtol=1e-11, atol=1e-12, method="DOP853")
    # away from the observer: the direction at the angle pi/2 from the ascending node
    away = orbit.y[2] * np.sin(omega) + orbit.y[3] * np.cos(omega)
    expected = 50.0 * away * np.sqrt(1 - e**2) / mean_motion
    got = planet(t + float(planet.periastron))
    np.testing.assert_allclose(got, expected, atol=1e-6 * 50 / (1 - e))


def test_conjunction_is_when_the_planet_is_in_front():
    """Then the true anomaly is pi/2 - omega, and the star begins to approach."""
    assert float(PLANET(jnp.asarray([1.2]))[0]) == pytest.approx(50.0 * 0.6 * np.cos(-2.0))
    circular = spotgp.Keplerian(4.3, 50.0, 1.2)
    np.testing.assert_allclose(circular(T), -50.0 * np.sin(2 * np.pi * (T - 1.2) / 4.3), atol=1e-11)


def test_from_periastron():
    again = spotgp.Keplerian.from_periastron(4.3, 50.0, PLANET.periastron, 0.6, -2.0)
    np.testing.assert_allclose(again(T), PLANET(T), atol=1e-9)
    with pytest.raises(TypeError, match="conjunction"):
        spotgp.Keplerian.from_periastron(4.3, 50.0, "now", 0.6, -2.0)


@pytest.mark.parametrize("e", [0.0, 0.3, 0.9])
def test_gradients(e):
    def velocities(*values):
        return spotgp.Keplerian(*values)(jnp.asarray(T))

    at = (4.3, 50.0, 1.2, e, -2.0)
    slopes = jax.jacfwd(velocities, tuple(range(5)))(*map(jnp.asarray, at))
    weight = jnp.sin(T)
    back = jax.grad(lambda *x: velocities(*x) @ weight, tuple(range(5)))(*map(jnp.asarray, at))
    for k, slope in enumerate(slopes):
        h = 1e-6
        up, down = ([x + sign * h * (j == k) for j, x in enumerate(at)] for sign in (1, -1))
        if down[3] < 0:  # one-sided, second order
            twice = [x + 2 * h * (j == k) for j, x in enumerate(at)]
            ends = 4 * velocities(*up) - 3 * velocities(*at) - velocities(*twice)
        else:
            ends = velocities(*up) - velocities(*down)
        difference = np.asarray(ends) / (2 * h)
        scale = max(np.abs(slope).max(), 1.0)
        np.testing.assert_allclose(slope, difference, rtol=1e-5, atol=1e-6 * scale)
        assert float(back[k]) == pytest.approx(float(slope @ weight), abs=1e-9 * scale)


def test_units():
    planet = spotgp.Keplerian(103.2 * units.hour, 0.05 * units.km / units.s, 1.2, 0.6, -2.0)
    np.testing.assert_allclose(planet(T), PLANET(T))
    with pytest.raises(TypeError, match="semi_amplitude"):
        spotgp.Keplerian(4.3, 50.0 * units.km, 1.2)


def test_sums_of_means():
    c = spotgp.Keplerian(11.0, 20.0, 3.0)
    trend = spotgp.LinearMean(value=5.0, slope=-1.0)
    mean = spotgp.SumMean({"b": PLANET, "c": c, "trend": trend})
    t = jnp.asarray(T)
    np.testing.assert_allclose(mean(t), PLANET(t) + c(t) + trend(t))
    scales = spotgp.DataScales(cadence=1.0, span=34.0, scatter=30.0, error=2.0)
    priors = mean.default_priors(scales)
    assert {"parts.b.semi_amplitude", "parts.c.period", "parts.trend.slope"} < set(priors)
    for path, prior in priors.items():
        assert np.isfinite(prior.log_prob(mean.get(path))) or path.endswith("eccentricity"), path
    with pytest.raises(ValueError, match="parts is empty"):
        spotgp.SumMean({})
    with pytest.raises(ValueError, match=r"'b\.c'"):
        spotgp.SumMean({"b.c": PLANET})
    with pytest.raises(TypeError, match=r"parts\['b'\]"):
        spotgp.SumMean({"b": 1.0})


def test_a_planet_is_a_mean_of_a_fit():
    planet = spotgp.SumMean({"b": PLANET})
    star = make_star(sigma_k=5.0)
    with_planet = spotgp.GPSolver(T, PLANET(T), 1.0, star, mean=planet)
    without = spotgp.GPSolver(T, np.zeros(T.size), 1.0, star, mean=spotgp.ConstantMean(0.0))
    np.testing.assert_allclose(with_planet.log_likelihood(), without.log_likelihood(), atol=1e-8)
    assert "mean.parts.b.semi_amplitude" in with_planet.posterior.priors


def test_a_planet_beside_spots():
    """Its default priors follow the velocities, not the light curve."""
    data = {"flux": (T, 1.0 + 1e-3 * np.sin(T), 1e-4), "rv": (T[::3], PLANET(T[::3]) + 7.0, 1.0)}
    channels = {"flux": spotgp.FluxBand(), "rv": spotgp.RadialVelocity(2000.0)}
    gp = spotgp.ChannelSolver(data, make_star(sigma_k=1e-3), channels, means={"rv": PLANET})
    assert {f"means.rv.{name}" for name in PLANET.param_keys} < set(gp.posterior.priors)
    prior = gp.posterior.priors["means.rv.semi_amplitude"]
    assert float(prior.icdf(1.0)) == pytest.approx(10.0 * np.std(np.asarray(PLANET(T[::3]))))


@pytest.mark.parametrize("companion", [1e-6, 0.1, 3.0])
def test_minimum_mass(companion):
    """Kepler's third law and the centre of mass."""
    star, period, e = 0.8, 20.0, 0.3
    mass = companion * star
    # in au, years and solar masses
    axis = ((star + mass) * (period / YEAR) ** 2) ** (1 / 3)
    K = 2 * np.pi * axis / (period / YEAR) * mass / (star + mass) / np.sqrt(1 - e**2)
    K = K * (units.au / (YEAR * units.day)).to("m / s")
    got = spotgp.minimum_mass(np.full(2, K), 20.0, e, star * units.solMass)
    np.testing.assert_allclose(got.to_value("M_sun"), mass, rtol=1e-7)
    with pytest.raises(ValueError, match="eccentricity"):
        spotgp.minimum_mass(10.0, 20.0, 1.0, 1.0)
    with pytest.raises(TypeError, match="period"):
        spotgp.minimum_mass(10.0, 20.0 * units.m, 0.1, 1.0)


def test_a_circular_orbit_stays_circular():
    scales = spotgp.DataScales(1.0, 100.0, 8.0, 1.0)
    circular = spotgp.Keplerian(4.0, 50.0, 1.0).default_priors(scales)
    assert set(circular) == {"period", "semi_amplitude", "conjunction"}
    eccentric = spotgp.Keplerian(4.0, 50.0, 1.0, eccentricity=0.1).default_priors(scales)
    assert set(eccentric) - set(circular) == {"eccentricity", "omega"}


def test_a_slope_at_a_single_time_is_fixed():
    scales = spotgp.DataScales(1.0, 0.0, 8.0, 1.0)
    assert set(spotgp.LinearMean().default_priors(scales)) == {"value"}
