"""Visibilities against the reference, brute-force integrals and sums, and their edge cases."""

import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss

from pytreefit import param
from spotgp.star.finite_spots import (
    FiniteLimbDarkenedVisibilityFunction,
    FiniteSpotVisibilityFunction,
)
from spotgp.star.geometry import projected_cap_area
from spotgp.star.limb_darkening import (
    AbstractProfileVisibility,
    FourParameterVisibilityFunction,
    LimbDarkenedVisibilityFunction,
)
from spotgp.star.visibility import EdgeOnVisibilityFunction, VisibilityFunction

STARS = {
    "uniform": VisibilityFunction(4.0, 0.2, 1.0),
    "edge_on": EdgeOnVisibilityFunction(4.0, 0.2),
    "quadratic": LimbDarkenedVisibilityFunction(4.0, 0.2, 1.0, 0.4, 0.2),
    "four": FourParameterVisibilityFunction(4.0, 0.2, 1.0, 0.5, -0.3, 0.6, -0.2),
    "finite": FiniteSpotVisibilityFunction(4.0, 0.2, 1.0, 0.15),
    "finite_dark": FiniteLimbDarkenedVisibilityFunction(4.0, 0.2, 1.0, 0.4, 0.2, 0.15),
}
INCLINED = [name for name in STARS if name != "edge_on"]


@eqx.filter_jit
def correlate(star, phi, angle):
    return star.autocorrelation(phi, angle)


@eqx.filter_jit
def harmonics(star, orders, phi):
    return star.cn(orders, phi)


def lighter(names):
    """The same names, those of laws without a closed form among the slow tests."""
    slow = ("four", "finite", "finite_dark")
    return [pytest.param(n, marks=pytest.mark.slow) if n in slow else n for n in names]


def tilted(star, inc):
    return star if isinstance(star, EdgeOnVisibilityFunction) else star.set({"inc": inc})


def coarse(star):
    """Fewer harmonics where only derivatives are looked at."""
    return star.set({"harmonics": 16}) if hasattr(star, "harmonics") else star


def brute_force(star, phi, angle):
    """A by Gauss-Legendre between all longitudes where V or its shifted copy has a corner."""
    inc, alpha = float(star.inc), float(getattr(star, "alpha", 0.0))
    a0, a1 = np.cos(inc) * np.sin(phi), np.sin(inc) * np.cos(phi)
    corners = [-np.pi, np.pi, (-angle) % (2 * np.pi) - np.pi]
    for edge in (-np.sin(alpha), np.sin(alpha)):
        cos = (edge - a0) / a1 if a1 > 0 else 2.0
        if abs(cos) < 1:
            for theta in np.arccos(cos) * np.array([1, -1]):
                corners += [theta, (theta - angle + np.pi) % (2 * np.pi) - np.pi]
    corners = np.unique(corners)
    node, weight = leggauss(60)
    x, w = np.sin(np.pi / 2 * node), weight * np.pi / 2 * np.cos(np.pi / 2 * node)
    half = 0.5 * np.diff(corners)[:, None]
    theta = (corners[:-1, None] + half * (1 + x)).ravel()

    def seen(t):
        return np.asarray(star.profile(a0 + a1 * np.cos(t)))

    return np.sum((half * w).ravel() * seen(theta) * seen(theta + angle)) / (2 * np.pi)


DATA = Path(__file__).parents[1] / "data"


def reference(name):
    cases = json.loads((DATA / "spot_kernels.json").read_text())["cases"]
    case = next(c for c in cases if c["name"] == name)
    return case, np.load(DATA / "spot_kernels.npz")


@pytest.mark.parametrize(
    "name",
    [
        "trapsym_default",
        "strong_shear_long_lag",
        "trapasym",
        "exponential",
        "limb_darkened",
        "short_plateau_low_inc",
    ],
)
def test_harmonics_are_those_of_the_reference(name):
    case, arrays = reference(name)
    star = LimbDarkenedVisibilityFunction(case["peq"], case["kappa"], case["inc"], *case["u"])
    got = star.cn(tuple(case["orders"]), arrays[f"{name}/cn_phi"])
    np.testing.assert_allclose(got, arrays[f"{name}/cn"], rtol=0, atol=1e-12)
    if case["u"] == [0.0, 0.0]:
        star = VisibilityFunction(case["peq"], case["kappa"], case["inc"])
        got = star.cn(tuple(case["orders"]), arrays[f"{name}/cn_phi"])
        np.testing.assert_allclose(got, arrays[f"{name}/cn"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", lighter(STARS))
def test_autocorrelation_is_the_integral(name):
    rng = np.random.default_rng(1)
    for inc in (0.3, 1.0, np.pi / 2, 2.6):
        star = tilted(STARS[name], inc)
        phi, angle = rng.uniform(-1.57, 1.57, 12), rng.uniform(-10.0, 10.0, 12)
        want = [brute_force(star, *pair) for pair in zip(phi, angle, strict=True)]
        got = correlate(star, jnp.asarray(phi), jnp.asarray(angle))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-10, err_msg=f"{inc}")


def test_autocorrelation_is_the_sum_of_2000_harmonics():
    angle = np.linspace(-7.0, 7.0, 57)
    n = np.arange(2001)
    for inc, phi in ((1.0, 0.3), (1.0, -0.9), (0.4, 0.35), (2.0, -1.2)):
        a0, a1 = np.cos(inc) * np.sin(phi), np.sin(inc) * np.cos(phi)
        v = np.arccos(np.clip(-a0 / a1, -1, 1))
        sine = np.concatenate([[v], np.sin(np.arange(1, 2002) * v) / np.arange(1, 2002)])
        c = (a0 * sine[n] + a1 / 2 * (sine[abs(n - 1)] + sine[n + 1])) / np.pi
        want = (np.where(n == 0, 1, 2) * c**2) @ np.cos(n[:, None] * angle)
        star = VisibilityFunction(4.0, 0.2, inc)
        got = correlate(star, jnp.full(57, phi), jnp.asarray(angle))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-11)
        assert np.abs(star.cn((0, 1, 7, 40), phi) - c[[0, 1, 7, 40]]).max() < 1e-15


@pytest.mark.parametrize("name", lighter(STARS))
def test_harmonics_are_those_of_the_autocorrelation(name):
    phi = jnp.asarray([-0.7, 0.1, 0.5, 0.8, 1.3])
    angle = np.linspace(0.0, 2 * np.pi, 4097)[:-1]
    value = correlate(STARS[name], phi[:, None], jnp.asarray(angle)[None])
    orders = (0, 1, 2, 5)
    power = np.stack(
        [np.mean(np.asarray(value) * np.cos(n * angle), axis=1) for n in orders], axis=1
    )
    np.testing.assert_allclose(harmonics(STARS[name], orders, phi) ** 2, power, atol=2e-10)
    np.testing.assert_allclose(
        STARS[name].mean_visibility(phi), harmonics(STARS[name], (0,), phi)[:, 0]
    )


def test_quadrature_agrees_with_the_closed_form_of_the_quadratic_law():
    star = STARS["quadratic"]

    class Same(AbstractProfileVisibility):
        u: jax.Array = param(default=0.4)

        def profile(self, mu):
            return mu * (1 - self.u * (1 - mu) - 0.2 * (1 - mu) ** 2) / (1 - self.u / 3 - 0.2 / 6)

    phi = jnp.asarray([-1.5, -1.0, -0.3, 0.0, 0.57, 0.5709, 1.0, 1.2, 1.57])
    angle = jnp.linspace(-4.0, 9.0, 40)[None]
    for inc in (0.0, 1e-3, 1.0, np.pi / 2, np.pi):
        closed, same = star.set({"inc": inc}), Same(4.0, 0.2, inc)
        want, got = (harmonics(s, (0, 1, 2, 30), phi) for s in (closed, same))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)
        want, got = (correlate(s, phi[:, None], angle) for s in (closed, same))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)


def test_a_uniform_disk_is_the_limit_of_the_others():
    phi, angle = jnp.asarray([[-0.5], [0.2], [1.1]]), jnp.linspace(0.0, 6.0, 31)[None]
    want = correlate(STARS["uniform"], phi, angle)
    for star in (
        LimbDarkenedVisibilityFunction(4.0, 0.2, 1.0, 0.0, 0.0),
        FourParameterVisibilityFunction(4.0, 0.2, 1.0, 0.0, 0.0, 0.0, 0.0),
    ):
        np.testing.assert_allclose(correlate(star, phi, angle), want, rtol=0, atol=1e-12)
    small = FiniteSpotVisibilityFunction(4.0, 0.2, 1.0, 1e-3)
    np.testing.assert_allclose(correlate(small, phi, angle), want, rtol=0, atol=1e-6)
    edge_on = VisibilityFunction(4.0, 0.2, np.pi / 2)
    np.testing.assert_allclose(
        correlate(edge_on, phi, angle), correlate(STARS["edge_on"], phi, angle), atol=1e-15
    )


@pytest.mark.parametrize("name", ["quadratic", "four"])
def test_the_whole_disk_has_a_mean_brightness_of_one(name):
    node, weight = leggauss(200)
    mu = (0.5 * (1 + node)) ** 2
    value = STARS[name].profile(jnp.asarray(mu))
    assert abs(2 * np.sum(0.5 * weight * (1 + node) * np.asarray(value)) - 1) < 1e-12
    assert STARS[name].profile(-0.1) == 0


def test_cap_area_is_an_integral_over_the_cap():
    area = jax.jit(projected_cap_area)
    x, w = leggauss(400)
    for a in (1e-3, 0.1, 0.5, 1.2):
        edges = np.sin(a) * np.array([-1, -0.9, -0.3, 0, 0.3, 0.9, 0.999, 1])
        for mu in [*edges, -1.0, 0.5 * (1 + np.sin(a)), 1.0]:
            # rings around the cap's centre: the mean of max(mu', 0) over each
            touch = min(np.arcsin(abs(mu)), a)
            total = 0.0
            for low, high in ((0, touch), (touch, a)):
                s = np.sin(np.pi / 4 * (1 + x))
                rho = low + (high - low) * s**2
                dr = w * (high - low) * s * np.cos(np.pi / 4 * (1 + x)) * np.pi / 2
                b0, b1 = np.cos(rho) * mu, np.sin(rho) * np.sqrt(1 - mu**2)
                v = np.arccos(np.clip(-b0 / np.maximum(b1, 1e-300), -1, 1))
                total += np.sum(dr * np.sin(rho) * 2 * (b0 * v + b1 * np.sin(v)))
            got = area(jnp.asarray(a), jnp.asarray(mu))
            assert abs(got - total) < 2e-9 * np.pi * np.sin(a) ** 2, (a, mu)


def test_cap_area_has_right_gradients_up_to_the_limb():
    gradient = jax.jit(jax.vmap(jax.grad(projected_cap_area, argnums=(0, 1))))
    alpha = jnp.asarray([1e-3, 0.1, 0.1, 0.1, 0.1, 0.7, 1.5, 0.4])
    mu = jnp.sin(alpha) * jnp.asarray([0.5, 1.2, 0.999, -0.999, -0.3, 0.1, 0.5, -1.3])
    h = 1e-6 * alpha
    got = gradient(alpha, mu)
    for k, (da, dm) in enumerate(((h, 0 * h), (0 * h, h))):
        up, down = projected_cap_area(alpha + da, mu + dm), projected_cap_area(alpha - da, mu - dm)
        # curvature at the limb and rounding
        np.testing.assert_allclose(got[k], (up - down) / (2 * h), rtol=2e-6, atol=1e-9)
    for a in (1e-4, 0.1, 1.0):
        a = jnp.full(5, a)
        edge = jnp.sin(a) * jnp.asarray([1.0, -1.0, 0.0, 1 - 1e-15, -1 + 1e-15])
        assert all(np.isfinite(g).all() for g in gradient(a, edge))
        np.testing.assert_allclose(gradient(a, edge)[1][0], np.pi * np.sin(a[0]) ** 2, rtol=1e-6)


def test_finite_limb_darkened_profile_is_an_integral_over_the_cap():
    star = STARS["finite_dark"]
    law = STARS["quadratic"].profile
    a = float(star.alpha)
    x, w = leggauss(300)
    rho, drho = 0.5 * a * (1 + x), 0.5 * a * w
    psi = 2 * np.pi * (np.arange(4000) + 0.5) / 4000
    for mu in (1.0, 0.5, 0.149, 0.08, 0.0, -0.05, -0.12, -0.2):
        ring = np.cos(rho)[:, None] * mu
        ring = ring + np.sin(rho)[:, None] * np.sqrt(1 - mu**2) * np.cos(psi)
        mean = np.asarray(law(jnp.asarray(ring))).mean(axis=1)
        want = 2 / np.sin(a) ** 2 * np.sum(drho * np.sin(rho) * mean)
        assert abs(star.profile(mu) - want) < 2e-7, mu
    # without limb darkening it is the exact area
    grid = jnp.linspace(-0.2, 1.0, 301)
    uniform = star.set({"u1": 0.0, "u2": 0.0}).profile(grid)
    np.testing.assert_allclose(uniform, STARS["finite"].profile(grid), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", INCLINED)
def test_panels_hold_all_that_is_seen(name):
    for inc in (0.0, 0.05, 0.7, 1.5, np.pi / 2, 2.0, np.pi):
        star = STARS[name].set({"inc": inc})
        panels = np.asarray(star.panels())
        assert np.all(np.diff(panels.ravel()) >= -1e-15) or name not in ("finite", "finite_dark")
        phi = np.linspace(-np.pi / 2, np.pi / 2, 401)
        inside = ((panels[:, :1] <= phi) & (phi <= panels[:, 1:])).any(axis=0)
        seen = np.asarray(harmonics(STARS[name].set({"inc": inc}), (0,), jnp.asarray(phi)))[:, 0]
        assert np.all(np.abs(seen[~inside]) < 1e-12)
        assert np.all(seen[inside] > -1e-12)


@pytest.mark.parametrize("name", lighter(STARS))
def test_gradients_agree_with_central_differences(name):
    star = coarse(STARS[name])
    keys = star.param_keys
    phi = jnp.asarray([-0.9, -0.4, 0.15, 0.5, 0.62, 1.2])[:, None]
    angle = jnp.linspace(-3.0, 8.0, 9)[None]
    weight = jnp.cos(jnp.arange(54.0)).reshape(6, 9)

    @jax.jit
    def scalar(values, angle):
        changed = star.set(dict(zip(keys, values, strict=True)))
        turn = angle * changed.omega0(phi)
        squared = changed.cn_squared((0, 1, 3), phi[:, 0])
        return jnp.sum(weight * changed.autocorrelation(phi, turn)) + jnp.sum(squared)

    values = [star.get(key) for key in keys]
    got, slope = jax.jit(jax.grad(scalar, argnums=(0, 1)))(values, angle)
    h = 1e-5
    for k in range(len(keys)):
        up, down = ([v + s * h * (j == k) for j, v in enumerate(values)] for s in (1, -1))
        difference = (scalar(up, angle) - scalar(down, angle)) / (2 * h)
        assert abs(got[k] - difference) < 1e-7 * max(1, abs(difference)), keys[k]
    difference = (scalar(values, angle + h) - scalar(values, angle - h)) / (2 * h)
    assert abs(jnp.sum(slope) - difference) < 1e-7 * max(1, abs(difference))


@pytest.mark.parametrize("name", lighter(STARS))
def test_gradients_are_finite_at_every_edge(name):
    pole = np.pi / 2
    phi = jnp.asarray([-pole, -1.0, -0.5, -1e-9, 0.0, 0.5, pole - 1.0, 1.0 - 1e-12, 1.0, pole])
    angle = jnp.asarray([0.0, 1e-12, np.pi, 2 * np.pi, -2 * np.pi, 20.0])[None]
    base = coarse(STARS[name])

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def both(inputs):
        star, phi, angle = inputs
        smooth = star.autocorrelation(phi[:, None], angle).sum() + star.omega0(phi).sum()
        return smooth + star.cn((0, 1, 2, 3), phi).sum()

    for inc in (0.0, 0.5, 1.0, np.pi / 2, np.pi):
        star = tilted(base, inc).set({"kappa": 0.0})
        value, gradient = both((star, phi, angle))
        assert np.isfinite(value), inc
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
            assert np.isfinite(leaf).all(), (inc, path)


@pytest.mark.parametrize("inc", [0.3, 1.0, 2.0])
def test_gradients_stay_exact_next_to_the_kinks(inc):
    """Where a spot is just not always seen, the derivative is that of the always seen one."""
    beta = min(inc, np.pi - inc)

    star = VisibilityFunction(4.0, 0.2, inc)
    latitude_slope = jax.jit(jax.grad(lambda p: star.autocorrelation(p, jnp.asarray(0.7))))

    for offset in (1e-15, 1e-13, 1e-11, 1e-9):
        side = [
            latitude_slope(jnp.asarray(s * beta + d)) for s in (1, -1) for d in (offset, -offset)
        ]
        # by nature it grows with the square root of the distance
        assert abs(side[0] - side[1]) < 1e-9 + 0.3 * offset**0.5
        assert abs(side[2] - side[3]) < 1e-9 + 0.3 * offset**0.5


@pytest.mark.parametrize("name", lighter(STARS))
def test_single_precision_keeps_five_digits(name):
    phi, angle = np.linspace(-1.5, 1.5, 13)[:, None], np.linspace(-6.0, 13.0, 41)[None]
    for inc in (0.0, 1.0, np.pi / 2, np.pi):
        star = tilted(STARS[name], inc)
        want = np.asarray(correlate(star, jnp.asarray(phi), jnp.asarray(angle)))
        with jax.enable_x64(False):
            single = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), star)
            got = correlate(single, jnp.asarray(phi), jnp.asarray(angle))
            assert got.dtype == jnp.float32
            np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)
            assert harmonics(single, (0, 1), jnp.asarray(phi)).dtype == jnp.float32


@pytest.mark.parametrize("name", lighter(INCLINED))
def test_vmap_equals_loop(name):
    inc = jnp.asarray([0.2, 1.0, 1.5])
    star, phi, angle = STARS[name], jnp.full((4, 1), 0.4), jnp.linspace(0.0, 5.0, 4)[None]
    many = jax.vmap(lambda i: star.set({"inc": i}).autocorrelation(phi, angle))(inc)
    for k in range(3):
        np.testing.assert_allclose(
            many[k], correlate(star.set({"inc": inc[k]}), phi, angle), rtol=0, atol=1e-14
        )


def test_rotation_names_and_values():
    star = VisibilityFunction(peq=10.0, kappa=0.3, inc=np.pi / 3)
    assert star.param_keys == ("peq", "kappa", "inc")
    assert star.param_dict == {"peq": 10.0, "kappa": 0.3, "inc": 1.0471975511965976}
    assert repr(star) == "VisibilityFunction(peq=10.0, kappa=0.3, inc=1.047)"
    assert STARS["edge_on"].param_keys == ("peq", "kappa")
    np.testing.assert_allclose(
        star.omega0(np.array([0.0, np.pi / 2])), 0.2 * np.pi * np.array([1, 0.7])
    )
    assert star.cn((), 0.3).shape == (0,)
    assert star.cn((0, 2), jnp.zeros((3, 4))).shape == (3, 4, 2)
    np.testing.assert_array_equal(star.cn_squared((1,), 0.2), star.cn((1,), 0.2) ** 2)


@pytest.mark.parametrize("name", STARS)
def test_equations_are_shown(name, capsys):
    pytest.importorskip("sympy")
    equations = STARS[name].get_sympy()
    printed = capsys.readouterr().out
    assert printed.startswith(type(STARS[name]).__name__ + "\n")
    assert printed.count("\n  $ ") == len(equations) >= 5
    if name == "uniform":
        assert tuple(equations) == ("omega_0", "a_0", "a_1", "theta_v", "c_0", "c_1", "c_n")
        star, phi = STARS[name], 0.4
        a0, a1 = np.cos(1.0) * np.sin(phi), np.sin(1.0) * np.cos(phi)
        numbers = {"a_0": a0, "a_1": a1, "theta_v": np.arccos(-a0 / a1), "n": 3}
        for key, order in (("c_0", 0), ("c_1", 1), ("c_n", 3)):
            value = equations[key].subs({s: numbers[s.name] for s in equations[key].free_symbols})
            assert abs(float(value) - star.cn((order,), phi)[0]) < 1e-14


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: VisibilityFunction(0.0, 0.1, 1.0), r"VisibilityFunction.peq = 0 d is outside"),
        (lambda: VisibilityFunction(-1.0, 0.1, 1.0), r"peq = -1 d is outside \(0, inf\)"),
        (lambda: VisibilityFunction(1.0, 1.0, 1.0), r"kappa = 1 is outside \[0, 1\)"),
        (lambda: VisibilityFunction(1.0, -0.1, 1.0), r"kappa = -0.1 is outside"),
        (lambda: VisibilityFunction(1.0, 0.1, 3.2), r"inc = 3.2 rad is outside"),
        (lambda: VisibilityFunction(1.0, 0.1, -0.1), r"inc = -0.1 rad is outside"),
        (lambda: VisibilityFunction(1.0, np.nan, 1.0), r"kappa = nan is not finite"),
        (
            lambda: LimbDarkenedVisibilityFunction(1.0, 0.1, 1.0, 0.8, 0.3),
            "u1 = 0.8 and .u2 = 0.3 add up to more than 1",
        ),
        (
            lambda: FourParameterVisibilityFunction(1.0, 0.1, 1.0, 5.0, 0.0, 0.0, 0.0),
            "flux 0.0, but it must be above 0",
        ),
        (lambda: FiniteSpotVisibilityFunction(1.0, 0.1, 1.0, 1.6), "alpha = 1.6 rad is outside"),
        (
            lambda: FiniteSpotVisibilityFunction(1.0, 0.1, 1.0, 0.1, harmonics=0),
            "harmonics = 0 must be a whole number >= 1",
        ),
    ],
)
def test_bad_values_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
