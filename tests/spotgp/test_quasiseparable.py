"""The quasiseparable solver against the dense one, and within the error that it states."""

import warnings

import jax
import numpy as np
import pytest
import tinygp

import spotgp
from spotgp import AnalyticKernel, GPSolver
from spotgp.solvers.quasiseparable.filter import seconds
from spotgp.solvers.quasiseparable.solver import obstacle

N, SPAN, ORDERS = 220, 40.0, (0, 1, 2, 3)
ENVELOPES = {
    "exponential": spotgp.ExponentialEnvelope(tau_spot=4.0),
    "asymmetric": spotgp.ExponentialAsymmetricEnvelope(tau_em=1.5, tau_dec=5.0),
}


def star(name, inc=1.0):
    return spotgp.SpotEvolutionModel(
        envelope=ENVELOPES[name],
        visibility=spotgp.VisibilityFunction(peq=5.0, kappa=0.0, inc=inc),
        sigma_k=0.01,
    )


def light_curve(kind):
    """Times, fluxes, errors and segments."""
    rng = np.random.default_rng(1)
    t = np.linspace(0.0, SPAN, N)
    if kind == "gappy":
        t = np.linspace(0.0, SPAN, 2 * N)
        t = t[(t % 13.0) > 5.5][:N]
    elif kind == "mixed":  # a short stretch at fifty times the cadence, some times twice
        t = np.sort(np.r_[np.linspace(0.0, SPAN, N - 60), 11.0 + 0.005 * np.arange(50), t[:10]])
    assert t.size == N
    error = rng.uniform(0.7, 2.0, N) * 1e-3
    flux = 0.004 * np.sin(1.26 * t) + 0.003 * np.cos(2.5 * t + 1.0) + error * rng.normal(size=N)
    segment = (t > 0.4 * SPAN).astype(int)
    return t + 100.0, 1.0 + flux + 3e-3 * segment, error, segment


def process(name, kind="even", solver="quasiseparable", orders=ORDERS, **options):
    t, flux, error, segment = light_curve(kind)
    model = options.pop("model", None) or star(name)
    kernel = model if orders is None else AnalyticKernel(model, orders=orders)
    options = {"jitter": 3e-4, "offsets": segment, "trend": 1, **options}
    if orders is not None:
        options.setdefault("tolerance", 1e-4)  # of the dense solver's table
    options["priors"] = {"inc": (0.0, 1.7), **options.get("priors", {})}
    return GPSolver(t, flux, error, kernel, solver=solver, **options)


def both(name, kind="even", **options):
    return [process(name, kind, solver, **options) for solver in ("dense", "quasiseparable")]


def agree(exact, found, theta):
    value, gradient = (np.asarray(v) for v in exact.value_and_grad_log_posterior(theta))
    also, slope = (np.asarray(v) for v in found.value_and_grad_log_posterior(theta))
    assert float(also) == pytest.approx(float(value), rel=1e-8)
    assert np.all(np.isfinite(slope))
    # in units of each parameter: what matters to a fit
    scale = np.maximum(np.abs([float(v) for v in exact.values(theta).values()]), 1e-2)
    np.testing.assert_allclose(
        slope * scale, gradient * scale, rtol=1e-6, atol=1e-6 * np.abs(gradient * scale).max()
    )


@pytest.mark.parametrize("kind", ["even", "gappy", "mixed"])
@pytest.mark.parametrize("name", ENVELOPES)
def test_it_is_exact_for_the_harmonics_it_keeps(name, kind):
    exact, found = both(name, kind)
    assert found.solver.length > 5 * 32
    for inc in (0.0, 0.4, 1.0, 0.5 * np.pi):
        agree(exact, found, {"inc": inc, "peq": 4.6, "jitter": 1e-3})
    assert float(found.likelihood_error()) == 0.0


@pytest.mark.parametrize("change", [0.0, 1e-9, 1e-3, 0.3])
def test_equal_and_nearly_equal_time_scales(change):
    exact, found = both("asymmetric")
    agree(exact, found, {"tau_em": 3.0, "tau_dec": 3.0 * (1.0 + change)})


@pytest.mark.parametrize("name", ENVELOPES)
def test_all_harmonics_within_the_error_it_states(name):
    rng = np.random.default_rng(5)
    t, _, error, segment = light_curve("gappy")
    covariance = np.asarray(AnalyticKernel(star(name)).kernel(t[:, None] - t[None, :]))
    drawn = np.linalg.cholesky(covariance + np.diag(error**2)) @ rng.normal(size=N)
    # a draw of the process, for which errors are stated, and one without power at the harmonics
    for flux, factor in ((1.0 + drawn, 1.0), (1.0 + error * rng.normal(size=N), 2.0)):
        exact, found = (
            GPSolver(
                t,
                flux,
                error,
                star(name),
                solver=solver,
                jitter=3e-4,
                offsets=segment,
                trend=1,
            )
            for solver in ("dense", "quasiseparable")
        )
        for theta in ({}, {"peq": 5.2, "sigma_k": 0.007}, {"jitter": 1e-3}):
            stated = float(found.likelihood_error(theta))
            difference = float(found.log_likelihood(theta)) - float(exact.log_likelihood(theta))
            assert abs(difference) < factor * stated < 0.3
    kept = len(found.solver.harmonics)
    assert kept > 4
    assert f"{kept} harmonics" in repr(found)


def test_a_smaller_tolerance_keeps_more_harmonics():
    counts = [
        len(process("exponential", orders=None, tolerance=tolerance).solver.harmonics)
        for tolerance in (10.0, 1.0, 0.1, 0.01)
    ]
    assert sorted(set(counts)) == counts


def test_edge_on_has_no_odd_harmonics():
    model = spotgp.SpotEvolutionModel(
        ENVELOPES["exponential"], spotgp.EdgeOnVisibilityFunction(peq=5.0, kappa=0.0), sigma_k=0.01
    )
    t, flux, error, _ = light_curve("even")
    found = GPSolver(t, flux, error, model, solver="quasiseparable")
    assert found.solver.harmonics[:4] == (0, 1, 2, 4)


def test_predictions_and_offsets():
    exact, found = both("asymmetric", "mixed")
    # in any order, beyond both ends, at times of data and twice
    t = np.r_[np.linspace(90.0, 160.0, 40), exact.data.time[:5] + exact.data.epoch, 120.0, 120.0]
    for parts in (None, "spots"):
        wanted, seen = exact.predict(t, parts=parts), found.predict(t, parts=parts)
        np.testing.assert_allclose(seen.mean, wanted.mean, atol=1e-9)
        np.testing.assert_allclose(seen.variance, wanted.variance, atol=1e-10)
    covariance = found.predict(t, return_cov=True)
    expected = exact.predict(t, return_cov=True)
    np.testing.assert_allclose(covariance.mean, expected.mean, atol=1e-9)
    np.testing.assert_allclose(covariance.variance, expected.variance, atol=1e-10)
    for mine, reference in zip(found.offset_estimates(), exact.offset_estimates(), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-6, atol=1e-12)
    draws = found.sample_posterior(t, jax.random.key(0), 500)
    scale = np.sqrt(np.diag(expected.variance))
    np.testing.assert_allclose(draws.mean(axis=0), expected.mean, atol=5 * scale.max() / 500**0.5)


def test_further_terms_and_a_mean_with_parameters():
    terms = {
        "granulation": spotgp.SHOTerm(sigma=2e-3, rho=0.7),
        "drift": spotgp.Matern32Term(sigma=2e-3, rho=20.0),
    }
    mean = spotgp.LinearMean(1.0, 1e-4)
    options = {"terms": terms, "mean": mean, "offsets": None, "trend": 0}
    exact, found = both("exponential", "gappy", **options)
    assert "slope" in " ".join(found.param_keys)
    agree(exact, found, {"inc": 0.8})
    t = np.linspace(95.0, 145.0, 30)
    wanted, seen = (gp.predict(t, parts=("spots", "drift")) for gp in (exact, found))
    np.testing.assert_allclose(seen.mean, wanted.mean, atol=1e-8)
    np.testing.assert_allclose(seen.variance, wanted.variance, atol=1e-10)


class Squared(spotgp.kernel.terms.AbstractTerm):
    """A process without a finite state."""

    def tinygp_kernel(self):
        return tinygp.kernels.ExpSquared()


def refused(**changes):
    t, flux, error, _ = light_curve("even")
    model = changes.pop("model", star("exponential"))
    GPSolver(t, flux, error, model, solver="quasiseparable", **changes)


def test_refusals():
    rigid = star("exponential")
    trapezoid = rigid.set({"envelope": spotgp.TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0)})
    with pytest.raises(ValueError, match="autocorrelation of a TrapezoidSymmetricEnvelope"):
        refused(model=trapezoid)
    with pytest.raises(ValueError, match=r"kappa = 0\.2, but"):
        refused(model=rigid.set({"visibility.kappa": 0.2}), priors={"kappa": None})
    with pytest.raises(ValueError, match="kappa is free"):
        refused(priors={"kappa": (0.0, 0.5)})
    with pytest.raises(ValueError, match="constant amplitude"):
        refused(model=spotgp.NonstationaryAnalyticKernel(rigid, lambda t: 0.01 + 0.0 * t))
    with pytest.raises(ValueError, match=r"terms\['other'\] is a Squared"):
        refused(terms={"other": Squared()})
    with pytest.raises(ValueError, match="more than 64 harmonics"):
        refused(tolerance=1e-9)
    found = process("exponential", orders=None)
    with pytest.warns(UserWarning, match="may be off by"):
        found.log_likelihood({"sigma_k": 0.3})


def test_what_auto_may_ask():
    found = process("exponential", solver="dense")
    posterior = found.posterior
    assert obstacle(found.process, posterior.priors) is None
    assert "kappa is free" in str(obstacle(found.process, {"model.visibility.kappa": None}))
    cost = seconds(100_000, 42)
    assert cost == pytest.approx(10 * seconds(10_000, 42))
    assert cost < seconds(100_000, 82)


def test_long_light_curves_far_above_the_noise():
    rng = np.random.default_rng(2)
    t = np.sort(rng.uniform(0.0, 800.0, 800))
    model = star("asymmetric").set({"visibility.peq": 1.7, "envelope.tau_dec": 400.0})
    flux = 1.0 + 0.05 * np.sin(5.0 * t)
    kernel = AnalyticKernel(model, orders=(0, 1, 2))
    found = GPSolver(t, flux, 1e-5, kernel, mean=1.0, solver="quasiseparable")
    covariance = np.asarray(kernel.kernel(t[:, None] - t[None, :])) + 1e-10 * np.eye(t.size)
    factor = np.linalg.cholesky(covariance)
    white = np.linalg.solve(factor, flux - 1.0)
    expected = -0.5 * white @ white - np.log(np.diag(factor)).sum()
    expected -= 0.5 * t.size * np.log(2.0 * np.pi)
    assert float(found.log_likelihood()) == pytest.approx(expected, rel=1e-8)
    assert np.all(np.isfinite(found.grad_log_posterior()))


def test_single_precision():
    t, flux, error, segment = light_curve("gappy")
    expected, _ = process("exponential", "gappy").value_and_grad_log_posterior()
    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = spotgp.SpotEvolutionModel(
            envelope=spotgp.ExponentialEnvelope(tau_spot=4.0),
            visibility=spotgp.VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
            sigma_k=0.01,
        )
        found = GPSolver(
            t,
            flux,
            error,
            AnalyticKernel(model, orders=ORDERS),
            solver="quasiseparable",
            jitter=3e-4,
            offsets=segment,
            trend=1,
            priors={"inc": (0.0, 1.7)},
        )
        value, gradient = found.value_and_grad_log_posterior()
    assert gradient.dtype == np.float32
    assert np.all(np.isfinite(gradient))
    assert float(value) == pytest.approx(float(expected), rel=1e-3)


def test_a_solver_remade_where_its_error_is_too_large():
    found, there = process("exponential", orders=None), {"sigma_k": 0.05}
    assert found.solver.remark(found.process) == ""
    assert "may be off by" in found.solver.remark(found.process_at(there))
    remade = found.remade_at(there)
    assert float(remade.process.model.sigma_k) == 0.05
    assert len(remade.solver.harmonics) > len(found.solver.harmonics)
    assert remade.solver.remark(remade.process) == ""
