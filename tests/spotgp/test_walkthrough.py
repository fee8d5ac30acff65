"""The walkthrough that users know, as it stands, with its printed values."""

import jax.numpy as jnp
import numpy as np
import pytest

from spotgp import (
    AnalyticKernel,
    GPSolver,
    LightcurveModel,
    SpotEvolutionModel,
    TrapezoidSymmetricEnvelope,
    VisibilityFunction,
)


def test_walkthrough(capsys):
    envelope = TrapezoidSymmetricEnvelope(lspot=15.0, tau_spot=5.0)
    assert envelope.param_dict == {"lspot": 15.0, "tau_spot": 5.0}
    assert all(type(value) is float for value in envelope.param_dict.values())
    assert repr(envelope.kernel_support()) == "25.0"
    _ = envelope.get_sympy()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "TrapezoidSymmetricEnvelope"
    assert len(printed) > 2
    assert all(line.startswith("  ") and "$" in line for line in printed[1:])
    t = np.linspace(-30, 30, 500)
    radius = envelope.Gamma(jnp.array(t))
    autocorrelation = envelope.R_Gamma(jnp.array(np.linspace(0, 40, 500)))
    transform = envelope.Gamma_hat(jnp.array(np.linspace(0, 5, 500)))
    assert radius.shape == autocorrelation.shape == transform.shape == (500,)

    visibility = VisibilityFunction(peq=10.0, kappa=0.3, inc=np.pi / 3)
    assert visibility.param_keys == ("peq", "kappa", "inc")
    assert visibility.param_dict == {"peq": 10.0, "kappa": 0.3, "inc": 1.0471975511965976}
    equations = visibility.get_sympy()
    assert len(equations) == 7  # omega_0, a_0, a_1, theta_v, c_0, c_1, c_n
    model = SpotEvolutionModel(envelope=envelope, visibility=visibility, sigma_k=0.01)
    assert model.param_keys == ("peq", "kappa", "inc", "lspot", "tau_spot", "sigma_k")
    capsys.readouterr()
    print(model)
    assert capsys.readouterr().out == (
        "SpotEvolutionModel(\n"
        "  envelope=TrapezoidSymmetricEnvelope({'lspot': 15.0, 'tau_spot': 5.0}),\n"
        "  visibility=VisibilityFunction(peq=10.0, kappa=0.3, inc=1.047),\n"
        "  sigma_k=0.01\n"
        ")\n"
    )
    _ = model.get_sympy()
    lc = LightcurveModel.from_spot_model(
        spot_model=model,
        nspot=30,
        tsim=150,
        tsamp=0.5,
        lat=[-np.pi / 2, np.pi / 2],
        long=[0, 2 * np.pi],
    )
    assert len(lc.t) == 300
    assert (float(lc.t[0]), float(lc.t[-1])) == (0.0, 149.5)

    capsys.readouterr()
    ak = AnalyticKernel(model).build_jax()
    assert "JAX kernel compiled in" in capsys.readouterr().out
    K = ak.kernel(np.linspace(0, 3 * model.peq, 300))
    assert K.shape == (300,)

    flux_err = np.full(300, 1e-3)
    noise = np.random.default_rng(0).normal(0.0, flux_err)
    flux_obs = np.asarray(lc.flux) + noise
    gp = GPSolver(lc.t, flux_obs, flux_err, model).build_jax()
    assert "compiled in" in capsys.readouterr().out
    assert gp.param_keys == model.param_keys
    theta = np.array(list(model.param_dict.values()))
    assert float(gp.log_posterior(theta)) == pytest.approx(-float(gp.neg_log_posterior(theta)))
    np.testing.assert_allclose(gp.grad_log_posterior(theta), -gp.grad_neg_log_posterior(theta))
    mean, variance = gp.predict(lc.t)
    assert np.mean((mean - lc.flux) ** 2) < np.mean(noise**2)
    assert np.all(variance >= 0)
