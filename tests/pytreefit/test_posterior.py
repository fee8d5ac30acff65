import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from pytreefit import Model, Posterior, param


class Noise(Model):
    scale: jax.Array = param(bounds="(0, inf)", default=0.5, label=r"$\sigma$")


class Line(Model):
    slope: jax.Array = param(unit="deg", bounds="[0, 180]")
    offset: jax.Array = param(default=1.0)
    weights: jax.Array = param(shape=(3,), bounds="[0, inf)", default=(0.2, 0.3, 0.5))
    noise: Noise = Noise()

    def at(self, x):
        return self.slope * x + self.offset + jnp.sum(self.weights * jnp.arange(3.0))


class Data(eqx.Module):
    x: jax.Array
    y: jax.Array

    def residuals(self, line):
        return (self.y - line.at(self.x)) / line.noise.scale

    def log_likelihood(self, line):
        return -0.5 * jnp.sum(self.residuals(line) ** 2) - self.x.size * jnp.log(line.noise.scale)


def make_data(slope=2.0, dtype=float):
    x = jnp.linspace(0, 1, 20, dtype=dtype)
    return Data(x, slope * x + 1)


PRIORS = {
    "slope": (0.0, 90.0),
    "weights": dist.HalfNormal(2.0),
    "noise.scale": dist.LogNormal(0.0, 1.0),
    "offset": dist.Normal(0.0, 3.0),
}


def make(priors=None, links=None, model=None, data=None, **kwargs):
    model = Line(3.0) if model is None else model
    data = make_data() if data is None else data
    return Posterior(model, data.log_likelihood, priors or PRIORS, links, **kwargs)


@pytest.fixture(scope="module")
def posterior():
    return make(residuals=make_data().residuals)


@pytest.fixture(scope="module")
def u(posterior):
    return posterior.unconstrain(posterior.initial)


def test_names_keep_the_order_of_the_priors(posterior):
    assert posterior.names == tuple(PRIORS)
    assert jax.tree.map(lambda x: x, posterior).names == tuple(PRIORS)
    assert tuple(posterior.priors) == tuple(posterior.transform) == posterior.names
    assert posterior.dim == 6
    assert posterior.shapes["weights"] == (3,)


def test_labels_and_units(posterior):
    assert posterior.labels["noise.scale"] == r"$\sigma$"
    assert posterior.labels["slope"] == "slope"
    assert posterior.units == {"slope": "deg", "weights": "", "noise.scale": "", "offset": ""}


def test_initial_is_the_model(posterior):
    assert posterior.initial["slope"] == 3
    np.testing.assert_array_equal(posterior.initial["weights"], [0.2, 0.3, 0.5])


def test_constrain_inverts_unconstrain(posterior, u):
    assert u.shape == (6,)
    for name, value in posterior.constrain(u).items():
        np.testing.assert_allclose(value, posterior.initial[name], rtol=1e-12)
    np.testing.assert_allclose(u[0], np.log(3 / 87))
    np.testing.assert_allclose(u[1:4], np.log([0.2, 0.3, 0.5]))


def test_model_at_and_model_from(posterior, u):
    values = {**posterior.initial, "slope": 7, "weights": [1, 2, 3]}
    model = posterior.model_at(values)
    assert (model.slope, model.noise.scale) == (7, 0.5)
    np.testing.assert_array_equal(model.weights, [1.0, 2.0, 3.0])
    np.testing.assert_allclose(posterior.model_from(u).slope, 3, rtol=1e-12)
    with pytest.raises(ValueError, match=r"Line.slope = 181 deg is outside"):
        posterior.model_at({**values, "slope": 181})


def test_model_from_survives_rounding_onto_an_open_bound():
    class Open(Model):
        e: jax.Array = param(bounds="[0, 1e9)")

    posterior = Posterior(Open(0.1), lambda m: m.e, {"e": (0, 1e9)})
    assert posterior.model_from(jnp.array([1e3])).e == pytest.approx(1e9)


def test_log_prior_against_scipy(posterior):
    expected = (
        -np.log(90)
        + stats.halfnorm(scale=2).logpdf([0.2, 0.3, 0.5]).sum()
        + stats.lognorm(1).logpdf(0.5)
        + stats.norm(0, 3).logpdf(1)
    )
    np.testing.assert_allclose(posterior.log_prior(posterior.initial), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "values", [{"slope": 91}, {"slope": -1}, {"weights": [1, -1, 1]}, {"noise.scale": 0}]
)
def test_log_prior_outside_the_support(posterior, values):
    assert posterior.log_prior({**posterior.initial, **values}) == -jnp.inf


def test_log_density_has_the_jacobian_of_the_transform(posterior, u):
    def flat(u):
        return jnp.concatenate([jnp.ravel(v) for v in posterior.constrain(u).values()])

    log_det = jnp.linalg.slogdet(jax.jit(jax.jacfwd(flat))(u))[1]
    physical = posterior.log_density_physical(u)
    np.testing.assert_allclose(posterior.log_density(u), physical + log_det, rtol=1e-12)
    expected = posterior.log_prior(posterior.initial) + posterior.log_likelihood(posterior.model)
    np.testing.assert_allclose(physical, expected, rtol=1e-12)


def test_log_density_is_normalised():
    """The prior alone integrates to one over the unconstrained coordinate."""
    prior = dist.TruncatedNormal(20.0, 30.0, low=0.0, high=180.0)
    posterior = Posterior(Line(3.0), lambda line: jnp.zeros(()), {"slope": prior})
    u = jnp.linspace(-40, 40, 4001)
    density = jnp.exp(jax.jit(jax.vmap(posterior.log_density))(u[:, None]))
    np.testing.assert_allclose(jnp.trapezoid(density, u), 1, rtol=1e-6)


def test_gradient_against_finite_differences(posterior, u):
    density = eqx.filter_jit(posterior.log_density)
    gradient = jax.jit(jax.grad(density))(u)
    steps = 1e-5 * jnp.eye(6)
    numeric = [(density(u + step) - density(u - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(gradient, np.stack(numeric), rtol=1e-6)


def test_vmap_equals_a_loop(posterior, u):
    points = u[None, :] + jnp.array([[-1.0], [0.0], [1.0]])
    density = eqx.filter_jit(posterior.log_density)
    loop = [density(point) for point in points]
    np.testing.assert_allclose(jax.jit(jax.vmap(density))(points), np.stack(loop))


def test_built_inside_jit_equals_built_outside(u):
    @jax.jit
    def density(u, slope, high):
        model = Line(slope)
        return make({**PRIORS, "slope": (0.0, high)}, model=model).log_density(u)

    np.testing.assert_allclose(density(u, 3.0, 90.0), make().log_density(u), rtol=1e-12)


def test_other_data_priors_and_fixed_values_share_a_compilation(u):
    traces = []

    @eqx.filter_jit
    def density(posterior, u):
        traces.append(1)
        return posterior.log_density(u)

    first = density(make(), u)
    priors = {
        "slope": (0, 45),
        "weights": dist.HalfNormal(1),
        "noise.scale": dist.LogNormal(0.5, 2),
        "offset": dist.Normal(1, 2),
    }
    second = density(make(priors, model=Line(4, 2), data=make_data(5.0)), u)
    assert len(traces) == 1
    assert first != second


ALL_PRIORS = {
    "uniform": dist.Uniform(0, 1),
    "log_uniform": dist.LogUniform(0.1, 10),
    "truncated": dist.TruncatedNormal(1.0, 2.0, low=0.0, high=8.0),
    "truncated_below": dist.TruncatedNormal(1.0, 2.0, low=0.0),
    "log_normal": dist.LogNormal(0, 1),
    "gamma": dist.Gamma(2, 1),
    "beta": dist.Beta(2, 2),
    "exponential": dist.Exponential(2),
    "transformed": dist.TransformedDistribution(
        dist.Normal(0, 1), [dist.transforms.ExpTransform()]
    ),
    "dirichlet": dist.Dirichlet(np.ones(3)),
    "array": dist.Uniform(np.zeros(3), np.full(3, 2.0)),
    "event": dist.Uniform(np.zeros(3), np.full(3, 2.0)).to_event(1),
}


class Vector(Model):
    x: jax.Array = param(shape=(3,), bounds="[0, inf)", default=(0.2, 0.3, 0.5))


class Vectors(Model):
    parts: dict


@pytest.fixture(scope="module")
def many():
    return Posterior(
        Vectors({name: Vector() for name in ALL_PRIORS}),
        lambda model: sum(jnp.sum(part.x) for part in model.parts.values()),
        {f"parts.{name}.x": prior for name, prior in ALL_PRIORS.items()},
    )


def test_all_kinds_of_priors_have_a_gradient(many):
    u = many.unconstrain(many.initial)
    assert u.shape == (3 * len(ALL_PRIORS) - 1,)  # a simplex has one dimension less
    density, gradient = jax.jit(jax.value_and_grad(many.log_density))(u)
    assert jnp.isfinite(density)
    assert jnp.all(jnp.isfinite(gradient))


def test_all_kinds_of_priors_keep_their_density(many):
    @jax.jit
    def expected(x):
        return sum(jnp.sum(prior.log_prob(x)) for prior in ALL_PRIORS.values())

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        density = expected(jnp.array([0.2, 0.3, 0.5]))
    np.testing.assert_allclose(eqx.filter_jit(many.log_prior)(many.initial), density, rtol=1e-10)


def test_pairs_of_arrays_are_uniform_priors():
    posterior = make({"weights": ([0, 0, 0], [1, 2, 4])})
    np.testing.assert_allclose(posterior.log_prior(posterior.initial), -np.log(8))


def test_sample_prior():
    posterior = make({"slope": ALL_PRIORS["truncated"], "weights": (0, 2)})
    draw = eqx.filter_jit(posterior.sample_prior)(jax.random.key(1))
    assert {name: value.shape for name, value in draw.items()} == posterior.shapes
    draws = eqx.filter_jit(posterior.sample_prior)(jax.random.key(1), (100,))
    assert draws["weights"].shape == (100, 3)
    assert jnp.all((draws["slope"] > 0) & (draws["slope"] < 8))
    assert not jnp.all(draws["weights"][:, 0] == draws["weights"][:, 1])


def test_single_precision(posterior, u):
    expected = float(posterior.log_density(u))
    with jax.enable_x64(False):
        posterior = make(data=make_data(dtype="float32"))
        u = posterior.unconstrain(posterior.initial)
        density, gradient = jax.jit(jax.value_and_grad(posterior.log_density))(u)
        assert {u.dtype, density.dtype, gradient.dtype} == {jnp.dtype("float32")}
        single = float(density)
    np.testing.assert_allclose(single, expected, rtol=1e-5)


def test_ties_share_one_value():
    posterior = make({("offset", "noise.scale"): (0.1, 2.0), "slope": (0, 90)})
    assert posterior.names == ("offset", "slope")
    assert posterior.initial["offset"] == 1
    assert posterior.dim == 2
    model = posterior.model_at({"offset": 0.7, "slope": 1})
    assert (model.offset, model.noise.scale) == (0.7, 0.7)
    same = make({"offset": (0.1, 2.0), "slope": (0, 90)}, {"noise.scale": lambda m: m.offset})
    u = jnp.array([0.3, -1.0])
    np.testing.assert_allclose(posterior.log_density(u), same.log_density(u), rtol=1e-12)


def test_links_follow_the_free_values():
    links = {
        "offset": lambda line: 2 * line.slope,
        "weights": lambda line: jnp.full(3, line.noise.scale),
    }
    posterior = make({"slope": (0, 90), "noise.scale": dist.LogNormal(0, 1)}, links)
    model = posterior.model_at({"slope": 5, "noise.scale": 0.2})
    assert model.offset == 10
    np.testing.assert_array_equal(model.weights, [0.2, 0.2, 0.2])
    assert tuple(posterior.links) == ("offset", "weights")
    assert posterior.names == ("slope", "noise.scale")
    gradient = eqx.filter_grad(lambda u, p: p.model_from(u).offset)(jnp.zeros(2), posterior)
    assert gradient[0] == pytest.approx(2 * 90 / 4)


def test_links_may_hold_arrays():
    class Twice(eqx.Module):
        factor: jax.Array

        def __call__(self, line):
            return self.factor * line.slope

    posterior = make({"slope": (0, 90)}, {"offset": Twice(jnp.array(3.0))})
    assert eqx.filter_jit(lambda p: p.model_at({"slope": 2.0}))(posterior).offset == 6


def test_numpyro_model_has_the_same_density(posterior):
    values = {**posterior.initial, "slope": jnp.array(2.5)}
    with numpyro.validation_enabled(False):
        density, trace = numpyro.infer.util.log_density(posterior.numpyro_model(), (), {}, values)
    model = posterior.model_at(values)
    expected = posterior.log_prior(values) + posterior.log_likelihood_of(model)
    np.testing.assert_allclose(density, expected, rtol=1e-12)
    assert set(posterior.names) < set(trace)


def test_numpyro_draws_the_model(posterior):
    model = numpyro.handlers.seed(posterior.numpyro_model(), 0)()
    assert 0 < model.slope < 90
    assert model.weights.shape == (3,)


def test_residuals_are_the_likelihood(posterior):
    shifted = posterior.model.set({"slope": 4})

    def difference(f):
        return f(shifted) - f(posterior.model)

    expected = difference(lambda model: -0.5 * jnp.sum(posterior.residuals(model) ** 2))
    np.testing.assert_allclose(difference(posterior.log_likelihood_of), expected, rtol=1e-12)
    assert make().residuals is None


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ({}, "priors is empty: name at least one free parameter"),
        ({"slpe": (0, 1)}, "no parameter 'slpe': did you mean 'slope'"),
        ({"scale": (0, 1)}, "did you mean 'noise.scale'"),
        ({"noise": (0, 1)}, r"'noise' is a Noise, not a parameter .* Name one .*: noise.scale"),
        ({"slope": (5, 5)}, r"prior of 'slope' is \(5.0, 5.0\) but must be \(low, high\)"),
        ({"slope": (0, np.inf)}, r"prior of 'slope' is \(0.0, inf\) .* finite"),
        ({"noise.scale": dist.Poisson(3)}, "The prior of 'noise.scale', Poisson, is discrete"),
        (
            {"slope": dist.Uniform(0, np.full(2, 90.0))},
            r"prior of 'slope' has shape \(2,\) but the parameter has shape \(\): give a scalar",
        ),
        (
            {"slope": (-1, 90)},
            r"prior of 'slope' reaches from -1 to 90 but .* limited to \[0, 180\].*"
            r"TruncatedNormal\(..., low=0, high=180\)\.$",
        ),
        (
            {"noise.scale": dist.Normal(1, 1)},
            r"'noise.scale' reaches from -inf to inf .* TruncatedNormal\(..., low=0\), HalfNormal",
        ),
        ({"weights": dist.Normal(1, 1)}, "'weights' reaches from -inf to inf"),
        (
            {"slope": (10, 90)},
            r"start of 'slope', 3.0, is not inside the support of its prior, \(10, 90\): widen the "
            r"prior, or start elsewhere with model.set\(\{'slope': ...\}\)",
        ),
        ({"slope": (3, 90)}, "start of 'slope', 3.0, is not inside"),
        ({"weights": (0, 0.4)}, r"start of 'weights', \[0.2 0.3 0.5\], is not inside"),
        ({"weights": dist.Dirichlet(np.ones(3))}, r"start of 'weights'.*Simplex\(\): widen"),
        ({("slope", "weights"): (0, 90)}, r"'slope' of shape \(\) cannot be tied to 'weights'"),
        ({("offset", "slope"): dist.Normal(0, 1)}, "prior of 'slope' reaches from -inf"),
        ({("offset", "slope"): (0, 9), "slope": (0, 9)}, "'slope' has two priors or is tied twice"),
        ({("slope", "slope"): (0, 9)}, "'slope' has two priors or is tied twice"),
    ],
)
def test_bad_priors_are_refused(priors, message):
    model = Line(3.0)
    if any(isinstance(prior, dist.Dirichlet) for prior in priors.values()):
        model = model.set({"weights": [1.0, 1.0, 1.0]})
    with pytest.raises(ValueError, match=message):
        make(priors or {}, model=model) if priors else Posterior(model, print, priors)


@pytest.mark.parametrize("prior", [3.0, "uniform", (1, 2, 3), None])
def test_a_prior_must_be_a_distribution(prior):
    with pytest.raises(TypeError, match=r"prior of 'slope' is .* NumPyro distribution or"):
        make({"slope": prior})


def test_bad_links_are_refused():
    with pytest.raises(ValueError, match=r"'slope' is both free and linked: remove it"):
        make({"slope": (0, 9)}, {"slope": lambda line: line.offset})
    with pytest.raises(ValueError, match=r"did you mean 'offset'"):
        make({"slope": (0, 9)}, {"ofset": lambda line: line.slope})
    with pytest.raises(ValueError, match=r"Line.offset has shape \(3,\) but must be"):
        make({"slope": (0, 9)}, {"offset": lambda line: line.weights})
    with pytest.raises(ValueError, match=r"Noise.scale = -3 is outside \(0, inf\)"):
        make({"slope": (0, 9)}, {"noise.scale": lambda line: -line.slope})
    with pytest.raises(TypeError, match=r"links\['offset'\] = 3.0 must be a function"):
        make({"slope": (0, 9)}, {"offset": 3.0})


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match=r"log_likelihood = 3.0 must be a function of the model"):
        Posterior(Line(3.0), 3.0, {"slope": (0, 9)})
    with pytest.raises(TypeError, match=r"residuals = 3.0 must be a function of the model"):
        make(residuals=3.0)


def test_the_likelihood_must_be_a_scalar(u):
    posterior = Posterior(Line(3.0), make_data().residuals, PRIORS)
    with pytest.raises(ValueError, match=r"array of shape \(20,\) but must return a scalar: sum"):
        posterior.log_density(u)


def test_bad_arguments_are_refused(posterior):
    with pytest.raises(ValueError, match=r"u has shape \(5,\) but must have shape \(6,\)"):
        posterior.constrain(jnp.zeros(5))
    with pytest.raises(ValueError, match=r"missing are \['weights', .*unknown are \['slop'\]"):
        posterior.unconstrain({"slop": 1.0, "slope": 2.0})
    values = {**posterior.initial, "weights": 1.0}
    with pytest.raises(ValueError, match=r"'weights' has shape \(\) but must have shape \(3,\)"):
        posterior.log_prior(values)


CUBE = {
    "slope": dist.Uniform(10.0, 30.0),
    "offset": dist.Normal(1.0, 2.0),
    "weights": dist.LogUniform(jnp.array([0.1, 0.2, 0.3]), jnp.full(3, 3.0)),
    "noise.scale": dist.TruncatedNormal(0.5, 1.0, low=0.1, high=2.0),
}


def cube_posterior():
    start = Line(20.0, weights=(0.5, 0.5, 0.5))
    return Posterior(start, make_data().log_likelihood, CUBE)


def test_a_unit_cube_becomes_the_priors():
    """Quantiles of the cumulative distributions, of entries of arrays too, in the names' order."""
    posterior = cube_posterior()
    cube = np.random.default_rng(0).uniform(size=(7, 6))
    found = np.asarray(posterior.prior_transform(cube))
    assert found.shape == (7, 6)
    low = np.array([0.1, 0.2, 0.3])
    cut = {"a": (0.1 - 0.5) / 1.0, "b": (2.0 - 0.5) / 1.0, "loc": 0.5, "scale": 1.0}
    expected = [
        10.0 + 20.0 * cube[:, :1],
        stats.norm(1.0, 2.0).ppf(cube[:, 1:2]),
        low * (3.0 / low) ** cube[:, 2:5],
        stats.truncnorm(**cut).ppf(cube[:, 5:]),
    ]
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), rtol=1e-6)
    values = posterior.values_of(found)
    assert tuple(values) == posterior.names
    np.testing.assert_array_equal(values["weights"], found[:, 2:5])
    one = eqx.filter_jit(posterior.prior_transform)(cube[3])
    np.testing.assert_allclose(one, found[3], rtol=1e-12)
    model = posterior.model_at(posterior.values_of(found[3]))
    assert float(model.noise.scale) == found[3, 5]


def test_a_unit_cube_that_is_none():
    posterior = cube_posterior()
    with pytest.raises(ValueError, match=r"cube has shape \(5,\), but its last axis .* length 6"):
        posterior.prior_transform(np.full(5, 0.5))
    with pytest.raises(ValueError, match="cube holds numbers below 0 or above 1"):
        posterior.prior_transform(np.full(6, 1.5))
    with pytest.raises(TypeError, match="cube"):
        posterior.prior_transform("abc")
    start = Line(20.0, weights=(0.2, 0.3, 0.5))
    prior = CUBE | {"weights": dist.Dirichlet(jnp.ones(3))}
    odd = Posterior(start, make_data().log_likelihood, prior)
    with pytest.raises(ValueError, match="'weights', Dirichlet, has no quantiles"):
        odd.prior_transform(np.full(6, 0.5))
