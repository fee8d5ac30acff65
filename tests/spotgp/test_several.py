"""Stars with several populations of spots: sums of processes, against plain linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import simpson
from scipy.stats import multivariate_normal

import spotgp
from pytreefit import load, save
from spotgp import ChannelKernel, ChannelSolver, FluxBand, GPSolver, Population, SpottedStar

TURN = spotgp.VisibilityFunction(peq=4.0, kappa=0.2, inc=1.0)
SHORT = spotgp.TrapezoidSymmetricEnvelope(lspot=4.0, tau_spot=1.5)
LONG = spotgp.TrapezoidSymmetricEnvelope(lspot=9.0, tau_spot=2.0)
BELT = spotgp.LatitudeBand(0.2, 0.6)
STAR = SpottedStar(
    TURN,
    {
        "spots": Population(SHORT, 0.01, latitude=BELT),
        "faculae": Population(
            LONG, 0.006, limb=spotgp.QuadraticLimbDarkening(-0.4, 0.0), magnetic=-3.0
        ),
    },
)
BRIGHT = spotgp.LimbDarkenedVisibilityFunction(peq=4.0, kappa=0.2, inc=1.0, u1=-0.4, u2=0.0)
ALONE = (
    spotgp.SpotEvolutionModel(SHORT, TURN, 0.01, latitude=BELT),
    spotgp.SpotEvolutionModel(LONG, BRIGHT, 0.006),
)
CHANNELS = {
    "flux": FluxBand(),
    "rv": spotgp.RadialVelocity(vsini=900.0, convective=150.0),
    "s_index": spotgp.ActivityIndicator(3.0),
}
OTHER = {  # what they are for the faculae
    "flux": FluxBand(),
    "rv": spotgp.RadialVelocity(vsini=900.0, convective=450.0),
    "s_index": spotgp.ActivityIndicator(-9.0),
}
LAG = np.linspace(0.0, 14.0, 40)
T = np.sort(np.random.default_rng(3).uniform(50.0, 90.0, 60))
FLUX = 1.0 + 0.01 * np.sin(1.5 * T)
PRIORS = {
    "spots.lspot": (3.0, 6.0),
    "spots.tau_spot": (1.0, 2.0),
    "faculae.lspot": (6.0, 10.0),
    "faculae.tau_spot": (1.0, 3.0),
    "faculae.magnetic": None,
}


def solver(**changes):
    options = {"priors": PRIORS, "jitter": 5e-4, "tolerance": 1e-3, **changes}
    return GPSolver(T, FLUX, 1e-3, STAR, **options)


@pytest.fixture(scope="module")
def dense():
    return solver(solver="dense")


def test_kernels_and_spectra_add_up():
    whole = spotgp.AnalyticKernel(STAR)
    parts = [spotgp.AnalyticKernel(one) for one in ALONE]
    np.testing.assert_allclose(
        whole.kernel(LAG), sum(part.kernel(LAG) for part in parts), rtol=1e-12, atol=1e-18
    )
    power = whole.compute_psd(np.array([0.0]))[1]  # the integral of the kernel
    grid = np.linspace(0.0, 14.0, 128)
    lags = np.concatenate([-grid[:0:-1], grid])
    total = sum(np.concatenate([one.kernel(grid)[:0:-1], one.kernel(grid)]) for one in parts)
    np.testing.assert_allclose(power[0], simpson(total, x=lags), rtol=2e-3)


def test_the_effective_period_is_between_those_of_the_populations():
    fast, slow = sorted(float(one.effective_period()) for one in ALONE)
    assert fast < float(STAR.effective_period()) < slow
    pole = {"visibility.inc": 0.0}  # where nothing varies
    fast, slow = sorted(float(one.set(pole).effective_period()) for one in ALONE)
    assert fast < float(STAR.set(pole).effective_period()) < slow


def test_the_mean_of_the_flux_adds_up():
    spots, faculae = (
        {"nspot_rate": 0.5, "fspot": 0.3, "alpha_max": 0.1},
        {"nspot_rate": 3.0, "fspot": 1.2, "alpha_max": 0.08},
    )
    both = {"spots": Population(SHORT, **spots), "faculae": Population(LONG, **faculae)}
    alone = [
        float(spotgp.SpotEvolutionModel(e, TURN, **given).mean_flux())
        for e, given in ((SHORT, spots), (LONG, faculae))
    ]
    assert alone[0] < 1.0 < alone[1]
    np.testing.assert_allclose(SpottedStar(TURN, both).mean_flux(), sum(alone) - 1.0, rtol=1e-12)


def covariance(jitter):
    """Of the light curve."""
    lags, index = np.unique(np.abs(T[:, None] - T[None, :]), return_inverse=True)
    chunks = np.array_split(lags, 16)  # of lengths that share a program
    kernel = sum(
        np.concatenate([spotgp.AnalyticKernel(one).kernel(part) for part in chunks])
        for one in ALONE
    )
    return np.asarray(kernel)[index].reshape(T.size, -1) + (1e-6 + jitter**2) * np.eye(T.size)


def by_hand():
    """The log-likelihood with a flat prior on the constant."""
    matrix = covariance(5e-4)
    inverse = np.linalg.inv(matrix)
    normal = inverse.sum()
    residual = FLUX - inverse.sum(axis=0) @ FLUX / normal
    exponent = multivariate_normal(np.zeros(T.size), matrix).logpdf(residual)
    return exponent - 0.5 * np.log(normal) + 0.5 * np.log(2.0 * np.pi)


def test_names_of_parameters_are_short_and_unique(dense):
    assert dense.param_keys == (
        "peq",
        "kappa",
        "inc",
        "spots.lspot",
        "spots.tau_spot",
        "spots.sigma_k",
        "faculae.lspot",
        "faculae.tau_spot",
        "faculae.sigma_k",
        "jitter",
    )
    assert set(STAR.paths) >= set(dense.param_keys) - {"jitter"}
    assert STAR.get(STAR.paths["faculae.lspot"]) == 9.0


def test_likelihood_against_a_matrix_by_hand(dense):
    start = dict(zip(dense.param_keys, dense.values().values(), strict=True))
    np.testing.assert_allclose(dense.log_likelihood(), by_hand(), atol=2e-3)
    gradient = dict(zip(dense.param_keys, dense.grad_log_posterior(), strict=True))
    for name in ("peq", "kappa", "inc", "spots.tau_spot", "faculae.lspot", "faculae.sigma_k"):
        step = 1e-4 * float(start[name])
        ends = [dense.log_posterior({name: start[name] + s * step}) for s in (-1.0, 1.0)]
        expected = float(ends[1] - ends[0]) / (2.0 * step)
        np.testing.assert_allclose(gradient[name], expected, rtol=2e-4, atol=1e-4, err_msg=name)


def test_other_solvers(dense):
    value = float(dense.log_likelihood())
    np.testing.assert_allclose(solver(solver="banded").log_likelihood(), value, atol=1e-6)
    bins = solver(solver="bins", tolerance=0.1, priors={**PRIORS, "jitter": (1e-5, 1e-3)})
    assert abs(float(bins.log_likelihood()) - value) < float(bins.likelihood_error()) + 1e-3
    with pytest.raises(ValueError, match="single population"):
        solver(solver="quasiseparable")


def test_predictions(dense):
    precision = np.linalg.inv(covariance(5e-4))
    total = precision.sum(axis=0)
    projector = precision - np.outer(total, total) / total.sum()
    expected = FLUX - (1e-6 + 5e-4**2) * projector @ FLUX
    np.testing.assert_allclose(dense.predict().mean, expected, atol=1e-6)


def test_starts_scale_all_populations(dense):
    starts = spotgp.suggest_starts(dense, periods=[4.0, 5.0], lifetimes=[6.0])
    assert starts
    assert all(set(one) == set(dense.posterior.names) for one in starts)
    path = "model.populations.{}.amplitude.sigma_k"
    ratios = [one[path.format("faculae")] / one[path.format("spots")] for one in starts]
    np.testing.assert_allclose(ratios, 0.6, rtol=1e-5)
    begun = STAR.start(5.0, 6.0, 0.02)
    np.testing.assert_allclose(begun.sigma_k, 0.02, rtol=1e-5)
    lives = [float(one.envelope.Gamma_hat(0.0).real) for one in STAR.scaled(3.0).members]
    assert lives == [float(one.envelope.Gamma_hat(0.0).real) for one in STAR.members]
    assert float(begun.peq) == 5.0


def test_channels_add_up():
    whole = ChannelKernel(STAR, CHANNELS).kernels(LAG)
    parts = [ChannelKernel(ALONE[0], CHANNELS), ChannelKernel(ALONE[1], OTHER)]
    parts = [part.kernels(LAG) for part in parts]
    sizes = {c: np.sqrt(whole[c, c][0]) for c in CHANNELS}
    turned = {"flux": 1.0, "rv": 1.0, "s_index": 1.0}
    # of the faculae only the fields' part turns around beside the light's
    faculae = ChannelKernel(
        ALONE[1],
        {"flux": FluxBand(), "rot": CHANNELS["rv"].only("rotation"),
         "conv": OTHER["rv"].only("convection"), "s_index": OTHER["s_index"]},
    ).kernels(LAG)  # fmt: skip
    sign = {"flux": 1.0, "rot": 1.0, "conv": -1.0, "s_index": 1.0}
    names = {"flux": ("flux",), "rv": ("rot", "conv"), "s_index": ("s_index",)}
    for (a, b), value in whole.items():
        own = sum(sign[x] * sign[y] * faculae[x, y] for x in names[a] for y in names[b])
        expected = parts[0][a, b] + turned[a] * own
        np.testing.assert_allclose(value, expected, atol=1e-7 * sizes[a] * sizes[b])


def test_joint_process_of_channels(tmp_path):
    t, rng = {"flux": T[:30], "rv": T[30:42]}, np.random.default_rng(0)
    channels = {name: CHANNELS[name] for name in t}
    data = {
        "flux": (t["flux"], FLUX[:30], 1e-3),
        "rv": (t["rv"], 5.0 * rng.normal(size=12), 1.0),
    }
    gp = ChannelSolver(data, STAR, channels, priors=PRIORS | {"faculae.magnetic": (-9.0, 0.0)})
    matrix = np.asarray(ChannelKernel(STAR, channels).matrix(t))
    matrix = matrix + np.diag(np.repeat([1e-6, 1.0], (30, 12)))
    columns = np.repeat(np.eye(2), (30, 12), axis=0)
    value = np.concatenate([of for _, of, _ in data.values()])
    inverse = np.linalg.inv(matrix)
    normal = columns.T @ inverse @ columns
    residual = value - columns @ np.linalg.solve(normal, columns.T @ inverse @ value)
    expected = multivariate_normal(np.zeros(42), matrix).logpdf(residual)
    expected += -0.5 * np.linalg.slogdet(normal)[1] + np.log(2.0 * np.pi)
    np.testing.assert_allclose(gp.log_likelihood(), expected, atol=0.02)
    index = gp.param_keys.index("magnetic")
    ends = [gp.log_posterior({"magnetic": -3.0 + s}) for s in (-1e-3, 1e-3)]
    expected = float(ends[1] - ends[0]) / 2e-3
    np.testing.assert_allclose(gp.grad_log_posterior()[index], expected, rtol=1e-4, atol=1e-6)
    path = tmp_path / "star.zip"
    save(path, gp.process)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), load(path), gp.process))


def test_simulated_spots_of_all_populations():
    key, t = jax.random.key(2), np.linspace(0.0, 12.0, 7)
    kinds = {"nspot": {"spots": 10, "faculae": 20}, "fspot": {"spots": 0.0, "faculae": 1.5}}
    flux = spotgp.simulate(STAR, key, t, 3, **kinds)
    expected = -1.0
    for k, (one, n, f) in enumerate(zip(ALONE, (10, 20), (0.0, 1.5), strict=True)):
        expected += spotgp.simulate(one, jax.random.fold_in(key, k), t, 3, nspot=n, fspot=f)
    np.testing.assert_allclose(flux, expected, atol=1e-14)
    with pytest.raises(ValueError, match="population"):
        spotgp.simulate(STAR, key, t, nspot={"plages": 3})
    for function in (spotgp.simulate, lambda *a, **k: spotgp.simulate_channels(*a, CHANNELS, **k)):
        with pytest.raises(ValueError, match=r"'faculae' is bright.*give fspot > 1, such as fspot"):
            function(STAR, key, t, nspot=3, fspot={"spots": 0.0})


@pytest.mark.slow
def test_simulated_channels_have_these_covariances():
    t, size = np.array([0.0, 1.1]), 6000
    star = SpottedStar(
        TURN.set({"kappa": 0.0}),
        {
            "spots": Population(SHORT, nspot_rate=4.0, fspot=0.0, alpha_max=0.05),
            "faculae": Population(SHORT, nspot_rate=8.0, fspot=2.0, alpha_max=0.05, magnetic=-4.0),
        },
    )
    channels = {"flux": FluxBand(), "rv": spotgp.RadialVelocity(v_eq=2000.0, convective=800.0)}
    curves = spotgp.simulate_channels(star, jax.random.key(1), t, channels, size)
    drawn = np.concatenate([np.asarray(curves[name]) for name in channels], axis=1)
    matrix = np.asarray(ChannelKernel(star, channels).matrix(dict.fromkeys(channels, t)))
    found = np.cov(drawn.T)
    error = np.sqrt((np.outer(np.diag(matrix), np.diag(matrix)) + matrix**2) / size)
    # the number of spots is small, which adds to the spread of their squares
    assert np.max(np.abs(found - matrix) / error) < 4.5
    # of dark spots alone light and convection go the other way round
    alone = ChannelKernel(star.members[0], channels).kernel(0.0, "flux", "rv")
    assert alone < 0.0 < matrix[0, 2]


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: SpottedStar(TURN, {}), "populations is empty"),
        (lambda: SpottedStar(TURN, {"a.b": Population(SHORT, 0.01)}), "has a dot"),
        (lambda: SpottedStar(TURN, {"a": SHORT}), r"populations\['a'\]"),
        (lambda: SpottedStar(SHORT, {"a": Population(SHORT, 0.01)}), "visibility"),
        (lambda: Population(SHORT), "Population needs its amplitude"),
        (lambda: Population(SHORT, 0.01, limb=TURN), "Population.limb"),
        (lambda: solver(priors={"lspot": (1.0, 2.0)}), "lspot"),
    ],
)
def test_bad_input(build, match):
    with pytest.raises((ValueError, TypeError), match=match):
        build()


def test_what_no_light_curve_knows_is_fixed_there():
    gp = GPSolver(T, FLUX, 1e-3, STAR, solver="dense")
    assert not any("magnetic" in name for name in gp.param_keys)
    data = {"flux": (T, FLUX, 1e-3)}
    joint = ChannelSolver(data, STAR, {"flux": FluxBand()}, solver="dense")
    assert "magnetic" in joint.param_keys  # of the faculae; the spots' own is 1
    assert "faculae=Population(TrapezoidSymmetricEnvelope({'lspot': 9.0" in repr(STAR)
