"""Channels of simulated spots against pixels, the light curve, small spots and closed limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import spotgp
from spotgp import channel_curves, simulate_channels
from spotgp.simulation.cap_integral import Direction, cap_integral, direction
from spotgp.star.cap_light import cap_light

U1, U2 = 0.4, 0.2
V_EQ, CONTRAST, CONVECTIVE, SCALE = 2000.0, 0.8, 350.0, 3.0
LIMB = spotgp.QuadraticLimbDarkening(U1, U2)
CHANNELS = {
    "flux": spotgp.FluxBand(0.7, LIMB),
    "rv": spotgp.RadialVelocity(V_EQ, contrast=CONTRAST, convective=CONVECTIVE, limb=LIMB),
    "rotation": spotgp.RadialVelocity(V_EQ),  # on the star's uniform disk
    "indicator": spotgp.ActivityIndicator(SCALE, LIMB),
}
T = np.linspace(-6.0, 6.0, 40)


def star(inc=1.1, kappa=0.3, peq=5.0, lspot=20.0):
    return spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=lspot, tau_spot=3.0),
        visibility=spotgp.VisibilityFunction(peq=peq, kappa=kappa, inc=inc),
        sigma_k=0.01,
    )


def law(mu):
    return (1 - U1 * (1 - mu) - U2 * (1 - mu) ** 2) / (1 - U1 / 3 - U2 / 6)


def small_spot(inc, kappa, latitude, theta):
    """The weights of the kernel for a spot of unit area and contrast."""
    mu = np.cos(inc) * np.sin(latitude) + np.sin(inc) * np.cos(latitude) * np.cos(theta)
    shear = 1 - kappa * np.sin(latitude) ** 2
    v = V_EQ * np.sin(inc) * np.cos(latitude) * shear * np.sin(theta)
    mu = np.maximum(mu, 0.0)
    light = mu * law(mu)
    return {
        "flux": -0.7 * light,
        "rv": -CONTRAST * light * v + CONVECTIVE * mu * light,
        "rotation": -mu * v,
        "indicator": SCALE * light,
    }


@pytest.mark.parametrize(("inc", "kappa", "latitude"), [(1.1, 0.3, 0.4), (2.2, 0.0, -0.6)])
def test_small_spots(inc, kappa, latitude):
    alpha = 1e-3
    spots = spotgp.Spots([0.0], [latitude], [0.3], [alpha], [0.9])
    curves = channel_curves(star(inc, kappa), spots, T, CHANNELS)
    theta = 0.3 + 2 * np.pi * (1 - kappa * np.sin(latitude) ** 2) / 5.0 * T
    expected = small_spot(inc, kappa, latitude, theta)
    for name, weight in expected.items():
        size = np.max(np.abs(weight))
        # the next order is alpha^2 / 4 times the weight's curvature; at the limb a part of alpha
        np.testing.assert_allclose(curves[name] / (0.9 * alpha**2), weight, atol=1e-3 * size)
        inside = np.abs(expected["indicator"]) > 0.02 * np.max(expected["indicator"])
        got = np.asarray(curves[name])[inside] / (0.9 * alpha**2)
        np.testing.assert_allclose(got, weight[inside], atol=3e-6 * size)


def pixels(inc, kappa, latitude, theta, alpha, n=2000):
    """Sums over pixels of the stellar disk, in a frame that is made from the star's own axes."""
    centre = (np.arange(n) + 0.5) * 2 / n - 1
    x, y = np.meshgrid(centre, centre)
    seen = x**2 + y**2 < 1
    x, y = x[seen], y[seen]
    sky = np.stack([x, y, np.sqrt(1 - x**2 - y**2)])
    axis = np.array([0.0, np.sin(inc), np.cos(inc)])
    east = np.array([1.0, 0.0, 0.0])
    meridian = np.cross(east, axis)  # on the equator, towards the observer
    lat, long = np.arcsin(axis @ sky), np.arctan2(east @ sky, meridian @ sky)
    away = np.sin(lat) * np.sin(latitude)
    away = away + np.cos(lat) * np.cos(latitude) * np.cos(long - theta)
    spotted = away > np.cos(alpha)
    mu = sky[2][spotted]
    # velocity of the surface: the angular velocity of its latitude times the axis x place
    turn = (1 - kappa * np.sin(lat[spotted]) ** 2) * V_EQ
    v = -turn * np.cross(axis, sky[:, spotted], axisb=0)[:, 2]
    area = (2 / n) ** 2 / np.pi  # of the disk: mu is in it
    return {
        "flux": -0.7 * np.sum(law(mu)) * area,
        "rv": np.sum(law(mu) * (CONVECTIVE * mu - CONTRAST * v)) * area,
        "rotation": -np.sum(v) * area,
        "indicator": SCALE * np.sum(law(mu)) * area,
    }


@pytest.mark.parametrize(
    ("inc", "latitude", "theta", "alpha"),
    [
        (1.1, 0.3, -0.9, 0.5),
        (1.1, 0.5, 0.1, 0.6),  # the centre of the disk is in it
        (1.1, -0.2, 1.7, 0.4),  # at the receding limb
        (0.5, 1.2, 2.5, 0.9),  # the visible pole is in it
        (2.3, -0.4, -0.7, 1.2),
    ],
)
def test_large_spots_against_pixels(inc, latitude, theta, alpha):
    spots = spotgp.Spots([0.0], [latitude], [theta], [alpha], [1.0])
    curves = channel_curves(star(inc, 0.4), spots, np.zeros(1), CHANNELS)
    for name, expected in pixels(inc, 0.4, latitude, theta, alpha).items():
        # pixels cut by the rim
        scale = alpha**2 * {"flux": 1.0, "indicator": SCALE}.get(name, V_EQ)
        assert float(curves[name][0]) == pytest.approx(expected, abs=2e-4 * scale), name


def test_signs():
    """Before the meridian a spot hides what approaches: the star seems to recede."""
    spots = spotgp.Spots([0.0], [0.0], [0.0], [0.2], [1.0])
    rv = channel_curves(star(np.pi / 2), spots, np.array([-0.5, 0.0, 0.5]), CHANNELS)["rotation"]
    assert rv[0] > 10.0
    np.testing.assert_allclose(rv, [rv[0], 0.0, -rv[0]], atol=1e-9)


def test_no_rotation_is_seen_at_the_pole_and_convection_is_red():
    spots = spotgp.Spots([0.0, 0.0], [0.6, 1.3], [0.3, 2.0], [0.2, 0.4], [1.0, 0.5])
    curves = channel_curves(star(0.0), spots, T, CHANNELS)
    np.testing.assert_allclose(curves["rotation"], 0.0, atol=1e-9)
    assert np.all(np.asarray(curves["rv"]) > 0.0)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_cap_integral_equals_that_along_the_rim(power):
    alpha = jnp.asarray([0.05, 0.3, 0.3, 0.3, 1.2, 0.5, 0.3, 0.2])
    mu = jnp.asarray([0.7, 0.99, 0.05, -0.2, 0.6, 1.0, -0.3, 0.0])
    side = jnp.sqrt(1 - mu**2)
    centre = Direction(0.6 * side, -0.8 * side, mu)
    got = cap_integral(lambda at: (at.mu**power,), alpha, centre)[0]
    error = np.abs(got - cap_light(alpha, mu, power))
    assert np.all(error < 2e-6 * alpha**2), error


def test_light_of_caps_as_users_compile_it():
    """With vectors of 512 bits, as `pytreefit.jit` asks for, and all optimisation."""
    options = {
        "xla_backend_optimization_level": 3,
        "xla_cpu_use_fusion_emitters": True,
        "xla_cpu_prefer_vector_width": 512,
    }
    mu = jnp.linspace(-0.3, 0.5, 256)
    alpha = jnp.full(mu.shape, 0.2)
    wide = jax.jit(lambda alpha, mu: cap_light(alpha, mu, 2.0), compiler_options=options)
    side = jnp.sqrt(1 - mu**2)
    centre = Direction(0.6 * side, -0.8 * side, mu)
    expected = cap_integral(lambda at: (at.mu**2,), alpha, centre)[0]
    np.testing.assert_allclose(wide(alpha, mu), expected, atol=2e-7)


def test_flux_is_the_light_curve():
    model = star().set(
        {"visibility": spotgp.LimbDarkenedVisibilityFunction(5.0, 0.3, 1.1, u1=U1, u2=U2)}
    )
    t = np.linspace(0.0, 60.0, 150)
    key = jax.random.key(1)
    options = {"nspot_rate": 0.5, "alpha_max": 0.15, "fspot": 0.3}
    weights = {"flux": spotgp.FluxBand(), "rv": CHANNELS["rv"]}
    curves = simulate_channels(model, key, t, weights, 2, **options)
    flux = spotgp.simulate(model, key, t, 2, **options)
    assert float(jnp.std(flux)) > 1e-3
    np.testing.assert_allclose(1.0 + curves["flux"], flux, atol=1e-7)
    spots = spotgp.draw_spots(model, jax.random.split(key, 2)[1], t, **options)
    again = channel_curves(model, spots, t[::-1], weights)
    np.testing.assert_allclose(again["rv"][::-1], curves["rv"][1], atol=1e-8)


def test_covariances_of_simulated_spots_are_the_kernels():
    """Small caps at all phases and latitudes, by sums over their Fourier coefficients."""
    inc, kappa, alpha, count = 1.0, 0.3, 1e-3, 1024
    node, weight = np.polynomial.legendre.leggauss(32)
    # in between spots rise and set, beyond the second edge they are always seen
    edges = np.array([-inc, inc, np.pi / 2])
    half, middle = 0.5 * np.diff(edges)[:, None], 0.5 * (edges[1:] + edges[:-1])[:, None]
    latitude, share = (middle + half * node).ravel(), (half * weight).ravel() / np.pi
    theta = 2 * np.pi * np.arange(count) / count
    shape = (latitude.size, count)
    places = (np.broadcast_to(a, shape) for a in (latitude[:, None], theta))

    def weights(at):
        sine = at.y * np.sin(inc) + at.mu * np.cos(inc)
        v = V_EQ * np.sin(inc) * at.x * (1 - kappa * sine**2)
        light = at.mu * law(at.mu)
        return -0.7 * light, light * (CONVECTIVE * at.mu - CONTRAST * v), SCALE * light

    angle = jnp.full(shape, alpha)
    found = cap_integral(weights, angle, direction(jnp.asarray(inc), *map(jnp.asarray, places)))
    names = ("flux", "rv", "indicator")
    transforms = {n: np.fft.fft(w, axis=1) / count for n, w in zip(names, found, strict=True)}
    model = star(inc, kappa)
    kernel = spotgp.ChannelKernel(model, {name: CHANNELS[name] for name in names})
    order = np.fft.fftfreq(count, 1 / count)
    omega = 2 * np.pi * (1 - kappa * np.sin(latitude) ** 2) / 5.0
    for first, second in [("flux", "rv"), ("rv", "flux"), ("rv", "rv"), ("rv", "indicator")]:
        product = np.conj(transforms[first]) * transforms[second]
        zero = [float(kernel.kernel(0.0, name, name)) for name in (first, second)]
        for lag in (0.0, 0.6, 4.1, 9.0):
            turned = np.sum(product * np.exp(1j * order * omega[:, None] * lag), axis=1).real
            expected = 1e-4 * float(model.envelope.R_Gamma(lag)) * (share @ turned) / alpha**4
            got = float(kernel.kernel(lag, first, second))
            assert got == pytest.approx(expected, abs=1e-5 * np.prod(zero) ** 0.5)


def test_gradients():
    """The sum of squares of the velocities, at the limb, at the centre of the disk and hidden."""
    spots = spotgp.Spots([0.0, 1.0, 0.0], [0.4, -0.3, 0.0], [0.3, 2.9, 0.0], [0.3, 0.2, 0.1],
                         [1.0, 0.7, -0.3])  # fmt: skip
    t = np.array([-2.0, 0.0, 0.7, 1.3, 2.1])

    def loss(inc, kappa, peq, alpha, v_eq, longitude):
        weight = {"rv": CHANNELS["rv"].set({"rotation.v_eq": v_eq})}
        moved = {"alpha_max": alpha * spots.alpha_max, "longitude": longitude + spots.longitude}
        rv = channel_curves(star(inc, kappa, peq, 2.0), spots.set(moved), t, weight)["rv"]
        return jnp.sum(rv**2)

    loss = jax.jit(loss)
    at = tuple(map(jnp.asarray, (np.pi / 2, 0.2, 5.0, 1.0, 2000.0, 0.0)))
    found = jax.jit(jax.grad(loss, tuple(range(6))))(*at)
    for k, gradient in enumerate(found):
        h = 1e-5 * max(float(at[k]), 1.0)
        ends = [loss(*(x + sign * h * (j == k) for j, x in enumerate(at))) for sign in (1, -1)]
        difference = float(ends[0] - ends[1]) / (2 * h)
        assert float(gradient) == pytest.approx(difference, rel=1e-5), k


def test_a_weight_of_a_user():
    spots = spotgp.Spots([0.0], [0.2], [0.5], [0.1], [1.0])
    own = {"bisector": lambda mu, x: -mu * (V_EQ * np.sin(1.1) * x) ** 3}
    got = float(channel_curves(star(kappa=0.0), spots, np.zeros(1), own)["bisector"][0])
    v = V_EQ * np.sin(1.1) * np.cos(0.2) * np.sin(0.5)
    mu = np.cos(1.1) * np.sin(0.2) + np.sin(1.1) * np.cos(0.2) * np.cos(0.5)
    assert got == pytest.approx(-(0.1**2) * mu * v**3, rel=0.03)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": {}}, "channels is empty"),
        ({"channels": {"flux": 1.0}}, r"channels\['flux'\] = 1.0 is no channel"),
        ({"channels": 3}, "channels is a int"),
        ({"spots": None}, "spots"),
        ({"model": 1.0}, "model"),
        ({"t": [np.nan]}, "t holds"),
        (
            {
                "model": star().set(
                    {
                        "visibility": spotgp.FourParameterVisibilityFunction(
                            5.0, 0.3, 1.1, a1=0.4, a2=0.2, a3=0.1, a4=0.1
                        )
                    }
                )
            },
            "as a polynomial, which a FourParameter",
        ),
    ],
)
def test_bad_input(changes, message):
    spots = spotgp.Spots([0.0], [0.2], [0.5], [0.1], [1.0])
    good = {"model": star(), "spots": spots, "t": T, "channels": CHANNELS}
    with pytest.raises((TypeError, ValueError), match=message):
        channel_curves(**{**good, **changes})
