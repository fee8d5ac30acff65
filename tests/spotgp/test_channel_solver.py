"""The joint process of several channels: against plain linear algebra, differences and itself."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy import units as u

import spotgp
from factories import make_star
from pytreefit import Model, fit, load, param, save
from spotgp import ActivityIndicator, ChannelSolver, FluxBand, RadialVelocity
from spotgp.kernel.place import Place
from spotgp.solvers import Bins
from spotgp.solvers.base import variances


class Sine(Model):
    """A planet on a circular orbit."""

    amplitude: jax.Array = param(unit="m / s", default=5.0)

    def __call__(self, t):
        return self.amplitude * jnp.sin(0.9 * t)


RNG = np.random.default_rng(5)
T = np.sort(RNG.uniform(100.0, 130.0, 40))
V1, V2, S = (np.sort(RNG.uniform(100.0, 130.0, n)) for n in (12, 9, 7))
CHANNELS = {
    "flux": FluxBand(),
    "rv": RadialVelocity(vsini=900.0, contrast=0.8, convective=150.0),
    "s_index": ActivityIndicator(3.0),
}
FLUX = T, 1.0 + 0.008 * np.sin(1.5 * T), 1e-3
DATA = {
    "flux": FLUX,
    "rv": {
        "HARPS": (V1, 20.0 + 8.0 * np.cos(V1), 1.0),
        "HIRES": (V2, -3.0 + 8.0 * np.cos(V2), 1.5 + 0.1 * np.arange(9)),
    },
    "s_index": (S, 0.2 + 0.02 * np.sin(S), 0.01),
}
STAR = make_star(kappa=0.1)
PRIORS = {"lspot": (3.0, 8.0), "tau_spot": (1.0, 3.0)}
PRIORS["vsini"] = dist.TruncatedNormal(900.0, 50.0, low=0.0)


def solver(**changes):
    options = {
        "means": {"rv": Sine()},
        "jitter": {"HIRES": 0.7, "flux": 5e-4},
        "trend": {"s_index": 1},
        "priors": PRIORS,
        "tolerance": 1e-3,
    }
    return ChannelSolver(DATA, STAR, CHANNELS, **{**options, **changes})


@pytest.fixture(scope="module")
def gp():
    return solver(solver="dense")


def covariance(first, second, kernel):
    """Covariance of two sets of (times, names of channels), value by value of the kernel."""
    lag = second[0][None, :] - first[0][:, None]
    matrix = np.zeros(lag.shape)
    for (a, b), values in kernel.kernels(lag).items():
        of = (first[1][:, None] == a) & (second[1][None, :] == b)
        matrix[of] = np.asarray(values)[of]
    return matrix


@pytest.fixture(scope="module")
def plain(gp):
    """The covariance of the data, residuals and free columns by NumPy."""
    sets = [("flux", *FLUX, 5e-4), ("rv", *DATA["rv"]["HARPS"], 0.0)]
    sets += [("rv", *DATA["rv"]["HIRES"], 0.7), ("s_index", *DATA["s_index"], 0.0)]
    time = np.concatenate([one[1] for one in sets])
    name = np.concatenate([np.full(one[1].size, one[0]) for one in sets])
    error = np.concatenate([np.hypot(np.full(one[1].shape, one[3]), one[4]) for one in sets])
    value = np.concatenate([one[2] for one in sets])
    value = value - np.where(name == "rv", 5.0 * np.sin(0.9 * time), 0.0)
    offset = np.repeat(np.arange(4), [one[1].size for one in sets])
    columns = [offset == k for k in range(4)] + [(name == "s_index") * (time - 115.0)]
    kernel = spotgp.ChannelKernel(STAR, CHANNELS)
    matrix = covariance((time, name), (time, name), kernel)
    times = {one: time[name == one] for one in ("flux", "rv", "s_index")}
    np.testing.assert_allclose(kernel.matrix(times), matrix, rtol=1e-6, atol=1e-9)
    matrix += np.diag(error**2)
    return time, name, value, np.stack(columns, axis=1).astype(float), matrix, kernel


def test_likelihood_is_that_of_a_gaussian(gp, plain):
    _, _, value, columns, matrix, _ = plain
    inverse = np.linalg.inv(matrix)
    normal = columns.T @ inverse @ columns
    best = np.linalg.solve(normal, columns.T @ inverse @ value)
    left = value - columns @ best
    # the trend's column is scaled to the half span of the data
    scale = 2.0 * np.log(0.5 * gp.data.span)
    terms = left @ inverse @ left + np.linalg.slogdet(matrix)[1] + np.linalg.slogdet(normal)[1]
    expected = -0.5 * (terms - scale + (value.size - 5) * np.log(2.0 * np.pi))
    np.testing.assert_allclose(gp.log_likelihood(), expected, atol=1e-3)
    assert gp.likelihood_error() < 1e-3
    found = gp.offsets()
    names = ("flux", "HARPS", "HIRES", "s_index")
    assert tuple(found) == (*sorted(names), "s_index trend 1")
    epoch = float(gp.data.epoch)
    middle = best[3] + best[4] * (epoch - 115.0)
    np.testing.assert_allclose(
        [found[name][0] for name in names], [*best[:3], middle], rtol=1e-4, atol=1e-4
    )


def test_predictions_are_those_of_a_gaussian(gp, plain):
    time, name, value, columns, matrix, kernel = plain
    wanted = np.array([99.0, 104.3, 111.0, 127.7])
    projector = np.linalg.inv(matrix)
    normal = np.linalg.inv(columns.T @ projector @ columns)
    best = normal @ columns.T @ projector @ value
    weights = projector @ (value - columns @ best)
    cross = covariance((time, name), (wanted, np.full(4, "rv")), kernel)
    spots = gp.predict(wanted, "rv", parts="spots")
    np.testing.assert_allclose(spots.mean, cross.T @ weights, rtol=1e-4, atol=1e-4)
    whole = gp.predict(wanted, "rv", instrument="HARPS")
    expected = cross.T @ weights + best[1] + 5.0 * np.sin(0.9 * wanted)
    np.testing.assert_allclose(whole.mean, expected, rtol=1e-4)
    left = np.eye(5)[1][:, None] - columns.T @ projector @ cross
    prior = np.diagonal(covariance((wanted, np.full(4, "rv")), (wanted, np.full(4, "rv")), kernel))
    known = prior - np.sum(cross * (projector @ cross), axis=0)
    np.testing.assert_allclose(
        whole.variance, known + np.sum(left * (normal @ left), axis=0), rtol=1e-3
    )


def test_causes_add_up(gp):
    wanted = np.array([104.3, 111.0, 127.7])
    parts = [gp.predict(wanted, "rv", parts=p).mean for p in ("rotation", "convection")]
    spots = gp.predict(wanted, "rv", parts="spots").mean
    np.testing.assert_allclose(parts[0] + parts[1], spots, atol=1e-6)
    assert np.min(np.abs(parts)) > 0.0
    # a channel of which there are no data
    new = gp.predict(wanted, RadialVelocity(vsini=450.0, contrast=1.6))
    np.testing.assert_allclose(new.mean, parts[0], atol=1e-6)


def test_banded_equals_dense(gp):
    banded = solver(solver="banded")
    assert "band of" in repr(banded)
    np.testing.assert_allclose(banded.log_likelihood(), gp.log_likelihood(), rtol=1e-10)
    wanted = np.array([104.3, 127.7])
    for one, other in zip(banded.predict(wanted, "rv"), gp.predict(wanted, "rv"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8)
    scores = [one.leave_one_out().log_score for one in (banded, gp)]
    np.testing.assert_allclose(*scores, rtol=1e-8)


@pytest.fixture(scope="module")
def derivative(gp):
    """Value and gradient of the log-likelihood in all fields of the process, as one vector."""
    arrays, static = eqx.partition(gp.process, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(arrays)

    def value(vector):
        process = eqx.combine(jax.tree.unflatten(structure, list(vector)), static)
        return gp.solver.log_likelihood(process)

    return jax.jit(jax.value_and_grad(value)), jnp.stack(leaves)


def test_gradients_in_every_field(gp, derivative):
    function, start = derivative
    assert len(start) == len(gp.process.parameters())
    _, gradient = function(start)
    for k, own in enumerate(start):
        step = 1e-4 * max(abs(float(own)), 1e-3)
        near, far = (
            (function(start.at[k].add(h))[0] - function(start.at[k].add(-h))[0]) / (2.0 * h)
            for h in (step, 2.0 * step)
        )
        scale = 1.0 / max(abs(float(own)), 1e-3)

        expected = (4.0 * near - far) / 3.0
        np.testing.assert_allclose(gradient[k], expected, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize(
    "edge",
    [
        {"model.visibility.inc": 0.0},
        {"model.visibility.inc": 0.5 * np.pi},
        {"model.visibility.kappa": 0.0},
        {"channels.rv.convective": 0.0},
        {"channels.rv.contrast": 0.0, "model.visibility.inc": 0.0},
    ],
    ids=str,
)
def test_finite_at_the_edges(gp, derivative, edge):
    leaves = jax.tree.leaves(eqx.filter(gp.process.set(edge), eqx.is_inexact_array))
    value, gradient = derivative[0](jnp.stack(leaves))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_joint_matrix_of_many_times_is_positive_definite(gp):
    rng = np.random.default_rng(1)
    place = Place(
        jnp.asarray(rng.uniform(0.0, 40.0, 400)), jnp.asarray(rng.integers(0, 3, 400), jnp.int32)
    )
    table = gp.solver.tables.covariance(gp.process, 40.0)
    matrix = np.asarray(table.block(place, place))
    assert np.array_equal(matrix, matrix.T)
    deviation = np.sqrt(variances(table, place))
    values = np.linalg.eigvalsh(matrix / deviation[:, None] / deviation[None, :])
    # to the error of the table
    assert values[0] > -1e-7 * values[-1]
    assert np.sum(values > 1e-7 * values[-1]) > 100


def test_a_light_curve_alone_is_that_of_gpsolver():
    options = {"priors": {"lspot": (3.0, 8.0), "tau_spot": (1.0, 3.0)}, "solver": "dense"}
    data = {"flux": spotgp.TimeSeriesData(*FLUX)}
    joint = ChannelSolver(data, STAR, {"flux": FluxBand()}, jitter={"flux": 5e-4}, **options)
    single = spotgp.GPSolver(*FLUX, STAR, jitter=5e-4, **options)
    assert joint.param_keys == single.param_keys
    np.testing.assert_allclose(joint.log_likelihood(), single.log_likelihood(), rtol=1e-9)
    np.testing.assert_allclose(
        joint.grad_log_posterior(), single.grad_log_posterior(), rtol=1e-6, atol=1e-6
    )
    wanted = np.array([104.3, 127.7])
    found = zip(joint.predict(wanted, "flux"), single.predict(wanted), strict=True)
    for one, other in found:
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_prior_draws_of_several_channels(gp):
    times = {"rv": np.array([101.0, 102.0]), "flux": np.array([101.4])}
    draws = gp.sample_prior(times, jax.random.key(2), 4000)
    assert {name: array.shape for name, array in draws.items()} == {
        "rv": (4000, 2),
        "flux": (4000, 1),
    }
    found = np.cov(np.concatenate([draws["rv"], draws["flux"]], axis=1).T)
    places = np.array([101.0, 102.0, 101.4]), np.array(["rv", "rv", "flux"])
    expected = covariance(places, places, spotgp.ChannelKernel(STAR, CHANNELS))
    deviation = np.sqrt(np.diagonal(expected))
    scaled = (found - expected) / deviation[:, None] / deviation[None, :]
    assert np.max(np.abs(scaled)) < 5.0 * np.sqrt(2.0 / 4000)
    np.testing.assert_allclose(
        draws["rv"].mean(0), 5.0 * np.sin(0.9 * times["rv"]), atol=5.0 * deviation[0] / 60.0
    )


def test_fit_and_file(tmp_path):
    fixed = dict.fromkeys(("kappa", "tau_spot", "convective", "scale", "HIRES", "flux"))
    del fixed["HIRES"], fixed["flux"]
    gp = solver(priors={**PRIORS, **fixed}, jitter=None, means=None, solver="dense")
    assert gp.param_keys == ("peq", "inc", "lspot", "sigma_k", "vsini")
    best = fit(gp.posterior, progress=False, steps=30)
    assert best.log_density > gp.log_posterior()
    save(tmp_path / "fit.npz", best)
    again = load(tmp_path / "fit.npz")
    assert eqx.tree_equal(again.model, best.model)
    assert isinstance(again.model, spotgp.ChannelProcess)


def test_default_priors_are_those_that_components_declare(gp):
    names = gp.posterior.names
    assert "channels.rv.rotation.vsini" in names
    assert "channels.rv.contrast" not in names  # cannot be told from the velocity
    assert "channels.flux.contrast" not in names  # the band that sigma_k is of
    assert {"channels.s_index.scale", "noise.HIRES.jitter", "means.rv.amplitude"} < set(names)
    bands = {"flux": FluxBand(), "red": FluxBand(0.6, spotgp.QuadraticLimbDarkening(0.3, 0.1))}
    two = ChannelSolver({"flux": FLUX, "red": FLUX}, STAR, bands)
    assert "contrast" in two.param_keys
    assert "channels.red.limb.u1" not in two.posterior.names


def test_quantities_are_converted():
    km = u.km / u.s
    rv = V1 * u.d, 8e-3 * np.cos(V1) * km, 1e-3 * km
    channels = {"rv": RadialVelocity(v_eq=1.0 * km)}
    priors = {"peq": (2.0, 20.0), "tau_spot": (1.0, 3.0)}
    made = ChannelSolver({"rv": rv}, STAR, channels, priors=priors)
    np.testing.assert_allclose(made.data.value, 8.0 * np.cos(V1), rtol=1e-12)
    np.testing.assert_allclose(made.data.error, 1.0)
    assert made.process.channels["rv"].rotation.v_eq == 1000.0


RV = (V1, 8.0 * np.cos(V1), 1.0)
BAD = {
    "unknown channel": ({"flux": FLUX, "rvs": RV}, "'rvs', which is no channel; these are: flux"),
    "no points of a channel": ({"flux": FLUX}, "'rv', of which there are no data"),
    "nothing finite": ({"flux": FLUX, "rv": (V1, np.nan * V1, 1.0)}, "no point that is finite"),
    "not three": ({"flux": FLUX, "rv": RV[:2]}, "tuple of times, values and errors"),
    "lengths": ({"flux": FLUX, "rv": (V1, V2, 1.0)}, r"values has shape \(9,\)"),
    "errors": ({"flux": FLUX, "rv": (V1, V1, 0.0)}, "an error of 0 is not positive"),
    "km / s beside m / s": (
        {"flux": FLUX, "rv": {"A": RV, "B": (V2, 8e-3 * np.cos(V2), 1e-3)}},
        "not in the same unit: all must be in m / s",
    ),
    "names": ({"flux": {"A": FLUX}, "rv": {"A": RV}}, "two instruments of the name 'A'"),
    "of another channel": (
        {"flux": {"A": FLUX}, "rv": {"flux": RV}},
        "has the name of another channel, .* such as 'flux_rv'",
    ),
    "two axes": ({"flux": FLUX, "rv": (V1[:, None], V1, 1.0)}, "t has shape .* must have one axis"),
    "empty": ({"flux": FLUX, "rv": {}}, "is empty: leave the channel out"),
    "another dimension": (
        {"flux": FLUX, "rv": (V1, V1 * u.km, 1.0)},
        "cannot be converted to unit 'm / s'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data(name):
    data, sentence = BAD[name]
    with pytest.raises((ValueError, TypeError), match=sentence):
        ChannelSolver(data, STAR, {"flux": FluxBand(), "rv": RadialVelocity(v_eq=1000.0)})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"means": {"vr": Sine()}}, "'vr' is unknown: choose one of"),
        ({"means": {"rv": 3.0}}, "is no function of times"),
        ({"jitter": {"ESPRESSO": 1.0}}, "'ESPRESSO' is unknown: choose one of"),
        ({"trend": {"HARPS": 1}}, "'HARPS' is unknown: choose one of"),
        ({"solver": "bins"}, "'bins' is unknown: choose one of 'auto'"),
        ({"solver": Bins}, "is not for several channels"),
        ({"priors": {"v_eq": (1.0, 2.0)}}, "v_eq"),
        ({"tolerance": 0.0}, "must be > 0"),
    ],
    ids=str,
)
def test_bad_options(changes, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        solver(**changes)


def test_times_of_other_zero_points_are_doubted():
    channels = {"flux": FluxBand(), "rv": RadialVelocity(v_eq=1000.0)}
    rv = (V1 + 2457000.0, *RV[1:])
    with pytest.warns(UserWarning, match=r"of 'rv' begin 24\d+ days after"):
        ChannelSolver({"flux": FLUX, "rv": rv}, STAR, channels)


def test_series_that_count_from_other_zeros_are_brought_to_one():
    flux, error = 1.0 + 0.008 * np.sin(1.5 * T), np.full(T.size, 1e-3)
    rv = CHANNELS["rv"]
    later = spotgp.TimeSeriesData(V1 - 50.0, 8.0 * np.cos(V1), 1.0, reference=2454883.0)
    earlier = spotgp.TimeSeriesData(T, flux, error, reference=2454833.0)
    channels = {"flux": FluxBand(), "rv": rv}
    found = ChannelSolver({"flux": earlier, "rv": later}, STAR, channels)
    plain = {"flux": (T, flux, error), "rv": (V1, 8.0 * np.cos(V1), 1.0)}
    wanted = ChannelSolver(plain, STAR, channels)
    assert float(found.log_likelihood()) == pytest.approx(float(wanted.log_likelihood()))
    assert float(found.data.epoch) == pytest.approx(float(wanted.data.epoch))
    sets = {"flux": {"A": earlier, "B": plain["flux"]}, "rv": later}
    with pytest.raises(ValueError, match=r"different zeros.*'B'\] is not known"):
        ChannelSolver(sets, STAR, channels)


def test_a_contrast_left_at_1_beside_temperatures_is_doubted():
    band = spotgp.TemperatureBand(4800.0, 5800.0, "V")
    data = {"flux": FLUX, "rv": (V1, 8.0 * np.cos(V1), 1.0)}
    with pytest.warns(UserWarning, match=r"spots of 'rv' are black, too"):
        ChannelSolver(data, STAR, {"flux": band, "rv": RadialVelocity(vsini=900.0)})
    rv = RadialVelocity(vsini=900.0, contrast=float(band.contrast))
    ChannelSolver(data, STAR, {"flux": band, "rv": rv})


def test_segments_that_get_one_offset_are_said():
    light = spotgp.TimeSeriesData(*FLUX, segment=(T > 115.0).astype(int))
    with pytest.warns(UserWarning, match=r"data\['flux'\] has 2 segments, which get one offset"):
        ChannelSolver({"flux": light}, STAR, {"flux": FluxBand()})


@pytest.mark.parametrize("t", [[], [1.0, np.nan], [np.inf]])
def test_times_that_are_none(gp, t):
    said = "is empty" if not t else "1 of . times are not finite"
    with pytest.raises(ValueError, match=said):
        gp.predict(t, "rv")
    with pytest.raises(ValueError, match=said):
        gp.sample_prior({"rv": t}, jax.random.key(0))
    alone = spotgp.GPSolver(*FLUX, STAR)
    with pytest.raises(ValueError, match=said):
        alone.predict(t)
    with pytest.raises(ValueError, match=said):
        alone.sample_prior(t, jax.random.key(0))


@pytest.mark.parametrize("channel", ["rv", RadialVelocity(v_eq=10.0)])
def test_no_offset_of_an_instrument_where_there_is_none(gp, channel):
    with pytest.raises(ValueError, match="instrument = 'HARPS' chooses an offset"):
        gp.predict([1.0], channel, parts="spots", instrument="HARPS")


def test_velocities_far_from_what_the_spots_make_are_doubted():
    channels = {"flux": FluxBand(), "rv": RadialVelocity(v_eq=2000.0)}
    with pytest.warns(UserWarning, match="1,000 to a km / s. Check the units"):
        ChannelSolver({"flux": FLUX, "rv": (V1, 8e-3 * np.cos(V1), 1e-3)}, STAR, channels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ChannelSolver({"flux": FLUX, "rv": (V1, 8.0 * np.cos(V1), 1.0)}, STAR, channels)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "got nothing to say how fast"),
        ({"v_eq": 1000.0, "vsini": 900.0}, "got v_eq and vsini"),
        ({"vsini": 900.0, "radius": 1.0}, "got vsini and radius"),
        ({"v_eq": -1.0}, "is outside"),
        ({"v_eq": 1.0, "limb": 0.3}, "RadialVelocity.limb is a float"),
    ],
)
def test_bad_velocities(given, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        RadialVelocity(**given)


def test_radius_and_period_give_the_velocity_of_the_sun():
    sun = make_star(peq=24.47, kappa=0.0, inc=0.5 * np.pi).visibility
    rotation = spotgp.StellarRadius(1.0 * u.R_sun)
    np.testing.assert_allclose(rotation.projected(sun), 2067.6, rtol=1e-4)
    tilted = sun.set({"inc": 0.5})
    ratio = rotation.projected(tilted) / rotation.projected(sun)
    np.testing.assert_allclose(ratio, np.sin(0.5), rtol=1e-12)


def test_stars_without_closed_forms_are_refused():
    star = STAR.set({"visibility": spotgp.FiniteSpotVisibilityFunction(4.0, 0.1, 1.0, alpha=0.1)})
    with pytest.raises(TypeError, match="closed forms for small spots"):
        ChannelSolver({"flux": FLUX}, star, {"flux": FluxBand()})


def test_figures_of_all_channels_and_of_a_planet(gp):
    t = np.linspace(100.0, 130.0, 40)
    panels = spotgp.plot_channels(gp, t=t).axes
    assert [ax.get_ylabel() for ax in panels] == ["flux", "rv [m / s]", "s_index"]
    labels = {text.get_text() for text in panels[1].get_legend().get_texts()}
    assert labels == {"prediction", "rotation", "convection", "mean", "HARPS", "HIRES"}
    # what is drawn is the prediction of an instrument without its offset
    drawn = next(line for line in panels[1].lines if line.get_label() == "prediction")
    whole = gp.predict(t, "rv", instrument="HARPS").mean
    offset, _ = gp.offsets()["HARPS"]
    np.testing.assert_allclose(drawn.get_ydata(), whole - offset, atol=1e-6)

    (ax,) = spotgp.plot_folded(gp, "rv", 7.0).axes
    assert "period 7 d" in ax.get_xlabel()
    for given, sentence in ((("flux", 7.0), "'flux'"), (("rv", 0.0), "period = 0 must be > 0")):
        with pytest.raises(ValueError, match=sentence):
            spotgp.plot_folded(gp, *given)
    with pytest.raises(ValueError, match="part = 'b' chooses one mean of a SumMean"):
        spotgp.plot_folded(gp, "rv", 7.0, part="b")
    with pytest.raises(TypeError, match="plot_channels: gp"):
        spotgp.plot_channels(STAR)


def test_one_planet_of_several_is_folded_without_the_others_and_the_trend():
    b = spotgp.Keplerian(period=7.0, semi_amplitude=40.0, conjunction=100.0)
    c = spotgp.Keplerian(period=11.3, semi_amplitude=30.0, conjunction=103.0)
    value = np.asarray(b(T) + c(T)) + 3.0 * (T - 115.0)
    rv = {"one": (T[::2], 20.0 + value[::2], 1e-2), "two": (T[1::2], value[1::2], 1e-2)}
    mean = spotgp.SumMean({"b": b, "c": c})
    star, channels = STAR.set({"amplitude.sigma_k": 1e-7}), {"rv": CHANNELS["rv"]}
    priors = PRIORS | {"sigma_k": None}
    options = {"trend": {"rv": 1}, "priors": priors, "solver": "dense"}
    gp = ChannelSolver({"rv": rv}, star, channels, means={"rv": mean}, **options)
    (ax,) = spotgp.plot_folded(gp, "rv", 7.0, part="b", zero=100.0).axes
    assert ax.get_ylabel() == "rv of b alone [m / s]"
    drawn = [box[0].get_xydata() for box in ax.containers if box[0] is not None]
    assert [points.shape for points in drawn] == [(20, 2), (20, 2)]
    for points in (*drawn, ax.lines[-1].get_xydata()):
        expected = b(100.0 + 7.0 * points[:, 0])
        np.testing.assert_allclose(points[:, 1], expected, atol=0.05)
    with pytest.raises(ValueError, match=r"sum of b, c, which have no period.*part='b'"):
        spotgp.plot_folded(gp, "rv", 7.0)
    with pytest.raises(ValueError, match="part = 'd'"):
        spotgp.plot_folded(gp, "rv", 7.0, part="d")


def test_a_conjunction_that_counts_from_another_zero():
    mean = spotgp.SumMean({"b": spotgp.Keplerian(7.0, 40.0, conjunction=2458325.0)})
    with pytest.warns(UserWarning, match=r"means.rv.parts.b.conjunction = 2458325 is more than"):
        solver(means={"rv": mean}, solver="dense")


def test_prior_draws_at_a_single_time(gp):
    drawn = gp.sample_prior({"flux": [103.0], "rv": [103.0]}, jax.random.key(0), 4000)
    kernel = spotgp.ChannelKernel(STAR, CHANNELS)
    for name in drawn:
        expected = float(kernel.kernel(0.0, name, name)) ** 0.5
        assert np.std(np.asarray(drawn[name])) == pytest.approx(expected, rel=0.05)


class Decay(Model):
    """Beyond all bounds long before its time."""

    depth: jax.Array = param(default=1e-3)

    def __call__(self, t):
        return self.depth * jnp.exp(-(t - 100.0) / 2.0)


def test_a_mean_is_seen_at_the_times_of_its_channel_only():
    early = {"flux": FLUX, "rv": (V1 - 1600.0, 8.0 * np.cos(V1), 1.0)}
    channels = {name: CHANNELS[name] for name in early}
    options = {"means": {"flux": Decay()}, "priors": PRIORS, "solver": "dense"}
    with pytest.warns(UserWarning, match="have no spots in common"):
        gp = ChannelSolver(early, STAR, channels, **options)
    name, values = "means.flux.depth", gp.values()

    def value(depth):
        return gp.posterior.log_likelihood_of(gp.posterior.model_at(values | {name: depth}))

    slope = float(jax.grad(value)(values[name]))
    difference = (float(value(values[name] + 1e-6)) - float(value(values[name] - 1e-6))) / 2e-6
    assert slope == pytest.approx(difference, rel=1e-3)


class Own(spotgp.AbstractChannel):
    """A channel with limb darkening of its own, and no word about priors."""

    scale: jax.Array = param(bounds="(0, inf)", default=1.0)
    limb: spotgp.QuadraticLimbDarkening = eqx.field(
        default_factory=lambda: spotgp.QuadraticLimbDarkening(0.4, 0.2)
    )

    def weight(self, visibility):
        return {0: [-self.scale * b for b in visibility.polynomial()]}


def test_priors_of_ones_own_channel_are_those_that_its_parts_declare():
    assert set(Own().default_priors(None)) == {"scale"}
    planets = spotgp.SumMean({"b": spotgp.Keplerian(3.0, 5.0, 2.4e6)})

    class Wrapped(spotgp.AbstractMean):
        inner: spotgp.AbstractMean

        def __call__(self, t):
            return self.inner(t)

    scales = spotgp.DataScales(1.0, 100.0, 8.0, 1.0)
    found = Wrapped(planets).default_priors(scales)
    assert set(found) == {f"inner.{path}" for path in planets.default_priors(scales)}
    assert float(found["inner.parts.b.conjunction"].high) == pytest.approx(2.4e6 + 1.5)


def test_a_model_is_no_set_of_values(gp):
    with pytest.raises(TypeError, match=r"theta is a ChannelProcess.*solver\.log_likelihood"):
        gp.log_likelihood(gp.process)
