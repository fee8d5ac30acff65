"""Nothing is stale: after `set` of any field a component equals one that is built anew."""

import dataclasses
import inspect

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import spotgp
from factories import make_star
from pytreefit import Model

TURN = {"peq": 4.0, "kappa": 0.2, "inc": 1.0}
LIVES = {"lspot1": 5.0, "tau_spot1": 2.0, "lspot2": 3.0, "tau_spot2": 1.0}
SPOT = spotgp.Spots([1.0], [0.3], [0.2], [0.1], [0.9])
TIMES = np.linspace(0.0, 10.0, 21)
COMPONENTS = (
    spotgp.ConstantMean(1.0),
    spotgp.LinearMean(1.0, 1e-3, 5.0),
    spotgp.SHOTerm(sigma=1e-3, rho=0.5),
    spotgp.Matern32Term(sigma=1e-3, rho=0.5),
    spotgp.TrapezoidSymmetricEnvelope(6.0, 2.0),
    spotgp.TrapezoidAsymmetricEnvelope(6.0, 1.0, 2.0),
    spotgp.DoubleTrapezoidEnvelope(6.0, 2.0, 3.0),
    spotgp.DoubleTrapezoidAsymmetricEnvelope(**LIVES, t_gap=2.0),
    spotgp.TripleTrapezoidAsymmetricEnvelope(
        **LIVES, lspot3=2.0, tau_spot3=1.5, t_gap12=2.0, t_gap23=1.0
    ),
    spotgp.ExponentialEnvelope(3.0),
    spotgp.ExponentialAsymmetricEnvelope(2.0, 4.0),
    spotgp.ExponentialPlateauEnvelope(2.0, 5.0, 4.0),
    spotgp.SkewedGaussianEnvelope(4.0, 1.0),
    spotgp.LogisticPlateauEnvelope(6.0, 1.0),
    spotgp.ModulatedGammaEnvelope(1.0, 3.0, 0.2, 0.5),
    spotgp.VisibilityFunction(**TURN),
    spotgp.EdgeOnVisibilityFunction(4.0, 0.2),
    spotgp.LimbDarkenedVisibilityFunction(**TURN, u1=0.4, u2=0.2),
    spotgp.FourParameterVisibilityFunction(**TURN, a1=0.4, a2=0.2, a3=0.1, a4=0.1),
    spotgp.FiniteSpotVisibilityFunction(**TURN, alpha=0.1),
    spotgp.FiniteLimbDarkenedVisibilityFunction(**TURN, u1=0.4, u2=0.2, alpha=0.1),
    spotgp.UniformDisk(),
    spotgp.QuadraticLimbDarkening(0.4, 0.2),
    spotgp.FluxBand(0.6, spotgp.UniformDisk()),
    spotgp.ActivityIndicator(2.0),
    spotgp.EquatorialSpeed(2000.0),
    spotgp.ProjectedSpeed(1500.0),
    spotgp.StellarRadius(0.9),
    spotgp.WhiteNoise(1.0),
    spotgp.ChannelKernel(make_star(), {"flux": spotgp.FluxBand()}),
    spotgp.SpottedStar(
        spotgp.VisibilityFunction(**TURN),
        {"spots": spotgp.Population(spotgp.ExponentialEnvelope(3.0), 0.01)},
    ),
    spotgp.InclinationLaw(2.0, 1.5),
    spotgp.UniformLatitude(),
    spotgp.UniformOnSphere(),
    spotgp.LatitudeBand(0.1, 0.5),
    spotgp.GaussianBand(0.4, 0.1),
    spotgp.CallableLatitude(jnp.cos, (0.3,)),
    SPOT,
    spotgp.LightcurveModel(make_star(), SPOT, TIMES),
    spotgp.NumericalKernel.from_light_curves(np.random.default_rng(0).normal(size=(3, 4)), 0.5),
    spotgp.SumMean({"level": spotgp.ConstantMean(1.0)}),
    spotgp.Keplerian(4.0, 50.0, 1.0, 0.3, 0.5),
    spotgp.Transit(4.0, 1.0, 0.1, 0.3, 9.0, 0.4, 0.2),
    spotgp.PopulationEnvelope(spotgp.TrapezoidSymmetricEnvelope(6.0, 2.0), 0.4, 1.0, 4),
    spotgp.Passband.named("V"),
    spotgp.SpectrumTable([4000.0, 6000.0], [400.0, 600.0, 800.0], np.ones((2, 3))),
    spotgp.TemperatureBand(4000.0, 5500.0, "V"),
)
OTHER = {
    "model": make_star(peq=5.0),
    "envelope": spotgp.ExponentialEnvelope(3.0),
    "nodes": 5,
    "spots": SPOT.set({"latitude": [-0.3]}),
    "hemispheres": "north",
    "harmonics": 64,
    "function": jnp.abs,
    "breakpoints": (0.1, 0.2),
    "band": "TESS",
    "exposure_time": 0.02,
    "spectrum": jnp.multiply,
    "parts": {"level": spotgp.ConstantMean(2.0)},
    "limb": spotgp.QuadraticLimbDarkening(0.3, 0.1),
    "channels": {"flux": spotgp.FluxBand(0.5)},
    "visibility": spotgp.EdgeOnVisibilityFunction(4.0, 0.2),
    "populations": {"faculae": spotgp.Population(spotgp.ExponentialEnvelope(4.0), 0.01)},
}
# those of a process have a test of their own
PROCESS = {spotgp.LightCurve, spotgp.Process, spotgp.ChannelData, spotgp.ChannelProcess}
# those whose constructors take what their fields do not
MADE = {spotgp.SpotEvolutionModel, spotgp.RadialVelocity, spotgp.Population}


def test_every_public_component_is_here():
    public = [getattr(spotgp, name) for name in spotgp.__all__]
    models = {c for c in public if inspect.isclass(c) and issubclass(c, Model)}
    final = {c for c in models if not c.__name__.startswith("Abstract")}
    assert final - PROCESS - MADE == {type(c) for c in COMPONENTS}


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: type(c).__name__)
def test_set_equals_built(component):
    fields = {f.name: getattr(component, f.name) for f in dataclasses.fields(component)}
    for name, value in fields.items():
        new = OTHER[name] if name in OTHER else 0.9 * value
        built = type(component)(**{**fields, name: new})
        assert eqx.tree_equal(component.set({name: new}), built)
        assert not eqx.tree_equal(component, built)


@pytest.mark.parametrize(
    "amplitude", [{"sigma_k": 0.01}, {"nspot_rate": 1.0, "fspot": 0.2, "alpha_max": 0.1}]
)
def test_a_star(amplitude):
    parts = {
        "envelope": COMPONENTS[4],
        "visibility": COMPONENTS[15],
        "latitude": spotgp.LatitudeBand(0.1, 0.5),
    }
    star = spotgp.SpotEvolutionModel(**parts, **amplitude)
    others = {
        "envelope": COMPONENTS[9],
        "visibility": COMPONENTS[17],
        "latitude": spotgp.GaussianBand(0.4, 0.1),
    }
    for name, other in others.items():
        built = spotgp.SpotEvolutionModel(**{**parts, name: other}, **amplitude)
        assert eqx.tree_equal(star.set({name: other}), built)
    for name, value in amplitude.items():
        built = spotgp.SpotEvolutionModel(**parts, **{**amplitude, name: 0.9 * value})
        assert eqx.tree_equal(star.set({f"amplitude.{name}": 0.9 * value}), built)


def test_a_velocity():
    values = {"contrast": 0.8, "convective": 100.0}
    velocity = spotgp.RadialVelocity(900.0, **values)
    others = {"contrast": 0.5, "convective": 0.0, "limb": OTHER["limb"]}
    for name, other in others.items():
        built = spotgp.RadialVelocity(900.0, **{**values, name: other})
        assert eqx.tree_equal(velocity.set({name: other}), built)
    built = spotgp.RadialVelocity(radius=0.9, **values)
    assert eqx.tree_equal(velocity.set({"rotation": spotgp.StellarRadius(0.9)}), built)
