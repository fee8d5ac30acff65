"""The solver of polynomials in bins against the dense one, within the error that it states."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import spotgp
from spotgp import GPSolver
from spotgp.solvers import Bins, Dense
from spotgp.solvers.bins import algebra, covariance, log_ratios, solver as bins_solver, sums

N, SPAN = 1000, 40.0
PRIORS = {"lspot": (2.0, 15.0), "tau_spot": (1.0, 5.0), "jitter": (1e-5, 1e-2)}
ELSEWHERE = ({"peq": 5.3, "lspot": 6.0, "kappa": 0.4}, {"jitter": 1e-3, "tau_spot": 4.0})


@pytest.fixture(scope="module")
def star():
    return spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
        visibility=spotgp.VisibilityFunction(peq=5.0, kappa=0.2, inc=1.0),
        sigma_k=0.01,
    )


def light_curve(kind):
    """Times, errors and segments."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.uniform(0.0, SPAN, N))
    if kind == "uneven":  # gaps, and a short stretch at thirty times the cadence
        t = np.linspace(0.0, SPAN, int(1.3 * N))
        t = t[(t % 13.0) > 3.5][: N - 100]
        t = np.sort(np.append(t, 11.0 + 0.0013 * np.arange(100)))
    assert t.size == N
    error = rng.uniform(0.7, 2.0, t.size) * 1e-3
    return t + 100.0, error, (t > 0.4 * SPAN).astype(int)


def processes(star, kind="random", solvers=("dense", "bins"), tolerance=0.1, **options):
    t, error, segment = light_curve(kind)
    rng = np.random.default_rng(1)
    flux = np.asarray(
        spotgp.LightcurveModel.from_spot_model(star, nspot_rate=5.0, fspot=0.0, t=t).flux
    )
    flux = flux + 3e-3 * segment + error * rng.normal(size=t.size)
    options = {"jitter": 3e-4, "priors": PRIORS, "offsets": segment, "trend": 1, **options}
    return [
        GPSolver(t, flux, error, star, solver=s, tolerance=tolerance, **options) for s in solvers
    ]


@pytest.fixture(scope="module")
def both(star):
    return processes(star, "uneven")


def test_within_the_error_it_states(both):
    exact, bins = both
    for theta in ({}, *ELSEWHERE):
        error = float(bins.likelihood_error(theta))
        difference = float(bins.log_likelihood(theta)) - float(exact.log_likelihood(theta))
        assert abs(difference) < error < 0.15
    assert "bins of" in repr(bins)


def test_predictions_and_offsets(both):
    exact, bins = both
    first, last = float(exact.data.epoch) + 0.5 * SPAN * np.array([-1.0, 1.0])
    t = np.linspace(first - 2.0, last + 2.0, 300)  # beyond the data too, and in two chunks
    for parts in (None, "spots"):
        wanted, found = exact.predict(t, parts=parts), bins.predict(t, parts=parts)
        sigma = np.sqrt(wanted.variance)
        np.testing.assert_allclose(found.mean / sigma, wanted.mean / sigma, atol=0.15)
        np.testing.assert_allclose(found.variance, wanted.variance, rtol=0.03)
    covariance = bins.predict(t, parts="spots", return_cov=True).variance
    np.testing.assert_allclose(np.diagonal(covariance), found.variance, rtol=1e-6)
    (wanted, spread), (found, also) = exact.offset_estimates(), bins.offset_estimates()
    assert np.all(np.abs(found - wanted) < 0.05 * np.sqrt(np.diagonal(spread)))
    np.testing.assert_allclose(also, spread, rtol=0.02, atol=1e-3 * np.max(spread))


def test_its_gradient_is_that_of_its_value(both):
    """Central differences of the approximation itself, to a small part of its error."""
    _, bins = both
    theta = np.array([float(v) for v in bins.values().values()])
    gradient = np.asarray(bins.grad_log_posterior(theta))
    for k, value in enumerate(theta):
        step = np.zeros_like(theta)
        step[k] = 1e-4 * value
        moved = (bins.value_and_grad_log_posterior(theta + s)[0] for s in (step, -step))
        up, down = map(float, moved)
        # over a tenth of each parameter: the derivative of a determinant is a mean of its own
        change = 0.1 * (up - down) / 2e-4
        assert 0.1 * gradient[k] * value == pytest.approx(change, rel=1e-4, abs=5e-3)


def test_it_can_be_batched(both):
    _, bins = both
    values = {name: jnp.stack([v, 1.001 * v]) for name, v in bins.values().items()}

    @jax.jit
    @jax.vmap
    def together(values):
        return bins.posterior.log_likelihood_of(bins.posterior.model_at(values))

    assert float(together(values)[0]) == pytest.approx(float(bins.log_likelihood()), abs=1e-6)


def test_it_converges_with_its_gradient(star):
    exact, bins = processes(star, tolerance=3e-3)
    theta = exact.values({"jitter": 1e-3})
    value, wanted = (np.asarray(v) for v in exact.value_and_grad_log_posterior(theta))
    also, found = (np.asarray(v) for v in bins.value_and_grad_log_posterior(theta))
    assert bins.likelihood_error(theta) < 3e-3
    assert abs(also - value) < 5e-3  # the kernel's table and its projection are not better
    # in units of a tenth of each parameter: what matters to a fit
    scale = 0.1 * np.array([float(v) for v in theta.values()])
    np.testing.assert_allclose(found * scale, wanted * scale, atol=0.02)


@pytest.mark.parametrize(("tolerance", "low"), [(0.1, 44), (0.3, 20)])
def test_the_determinant_and_its_slope(star, tolerance, low, monkeypatch):
    """Against the eigenvalues of all elements' covariance."""
    monkeypatch.setattr(covariance, "LOW_DEGREES", low)
    monkeypatch.setattr(log_ratios, "_MOST_PROBES", 512)
    monkeypatch.setattr(log_ratios, "_PROBED_BINS", 10**6)
    t = np.sort(np.random.default_rng(2).uniform(0.0, 30.0, 600))
    priors = {"lspot": (2.0, 9.0), "tau_spot": (0.5, 3.5)}
    gp = GPSolver(t, np.ones(600), 1e-3, star, solver="bins", tolerance=tolerance, priors=priors)
    solver = gp.solver
    kernel = solver._kernel(gp.process)

    def system(scale):
        scaled = lambda lag: scale * kernel(lag)  # noqa: E731
        return algebra._prepared(solver.sums, scaled, jnp.zeros(()), solver.layout)[0]

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def estimate(scale):
        found = system(scale)
        ratios, rest = log_ratios.log_ratios(found)
        found = jax.lax.stop_gradient(found)
        bins, elements, _ = found.inverse.shape
        unit = jnp.eye(bins * elements).reshape(bins, elements, -1)
        half = found.from_whitened(unit)
        matrix = jnp.einsum("bpm,bpn->mn", half, found.times(half))
        colours = jnp.einsum("bpm,bpn->mn", found.coloured(unit), half)
        return jnp.mean(ratios), (ratios, rest, jnp.linalg.eigvalsh(matrix), colours)

    # all that high degrees would have added between bins
    time, noise = np.asarray(gp.data.time), np.asarray(gp.data.flux_err) ** 2
    errors = bins_solver._errors(time, noise, gp.process, solver.tables)(float(solver.sums.width))
    left_out = 2.0 * errors.degrees

    below, here, above = (estimate(jnp.asarray(scale)) for scale in (0.99, 1.0, 1.01))
    exact = []
    for (_, (*_, eigenvalues, _)), _ in (below, here, above):
        added = np.sum(np.asarray(eigenvalues) - 1.0)
        assert added == pytest.approx(0.0, abs=1e-8 if low == 44 else left_out)
        exact.append(np.sum(np.log(eigenvalues)))
    (value, (ratios, rest, _, colours)), gradient = here
    np.testing.assert_allclose(colours, np.eye(len(colours)), atol=1e-9)
    scatter = float(np.std(ratios)) / np.sqrt(ratios.size)
    assert abs(float(value) - exact[1]) < 4.0 * scatter + float(np.mean(rest))
    assert scatter < 0.02 * abs(exact[1])
    assert float(gradient) == pytest.approx((exact[2] - exact[0]) / 0.02, rel=0.05)
    up, down = float(above[0][0]), float(below[0][0])
    assert float(gradient) == pytest.approx((up - down) / 0.02, rel=0.01)


def test_the_layout_changes_nothing():
    """Any tiles with enough of a band give the same value."""
    time = np.sort(np.random.default_rng(3).uniform(0.0, SPAN, 300))
    columns = np.stack([time < 20.0, time >= 20.0], axis=1).astype(float)
    own = sums.gather(time, np.sin(time), columns, np.full(300, 0.01), 0.0, 1.0, 41)

    @jax.jit
    def with_all(own):
        def kernel(lag):
            return jnp.maximum(1.0 - lag / 20.0, 0.0) ** 2

        layouts = ((1, 50, 0), (1, 41, 0), (6, 7, 4), (21, 2, 12))
        return [algebra.log_likelihood(own, kernel, jnp.asarray(0.0), one) for one in layouts]

    whole, *others = map(float, with_all(own))
    assert others == pytest.approx([whole] * 3, abs=1e-8)


@pytest.mark.parametrize("jitter", [0.0, 5e-4])
def test_white_noise_that_is_not_free(star, jitter):
    exact, bins = processes(star, jitter=jitter, priors={**PRIORS, "jitter": None})
    difference = float(bins.log_likelihood()) - float(exact.log_likelihood())
    assert abs(difference) < float(bins.likelihood_error())


def test_what_it_refuses(star):
    with pytest.raises(ValueError, match="cannot keep the error of the log-likelihood below"):
        processes(star, solvers=("bins",), tolerance=1e-12)
    with pytest.raises(ValueError, match="how far the kernel may reach"):
        processes(star, solvers=("bins",), priors={**PRIORS, "lspot": dist.HalfNormal(9.0)})
    with pytest.raises(ValueError, match="all values of the jitter"):
        processes(star, solvers=("bins",), priors={**PRIORS, "jitter": dist.HalfNormal(1e-3)})
    terms = {"granulation": spotgp.Matern32Term(sigma=1e-3, rho=0.5)}
    with pytest.raises(ValueError, match="for spots alone"):
        processes(star, solvers=("bins",), terms=terms)


def test_auto_takes_it_where_it_can(star):
    t = np.linspace(0.0, 20.0, 3500)
    flux = 1.0 + 0.01 * np.sin(t)
    options = {"jitter": 3e-4, "priors": PRIORS}
    assert isinstance(GPSolver(t, flux, 1e-3, star, **options).solver, Bins)
    others = (
        GPSolver(t, flux, 1e-3, star, solver="exact", **options),
        GPSolver(t[::2], flux[::2], 1e-3, star, **options),
        # spots that live for a small part of the light curve: a narrow band
        GPSolver(100.0 * t, flux, 1e-3, star, **options),
    )
    assert not any(isinstance(gp.solver, Bins) for gp in others)
    terms = {"granulation": spotgp.Matern32Term(sigma=1e-3, rho=0.5)}
    with pytest.warns(UserWarning, match="'dense' is taken, as solver = 'bins' is for spots alone"):
        exact = GPSolver(t, flux, 1e-3, star, terms=terms, **options)
    assert isinstance(exact.solver, Dense)
