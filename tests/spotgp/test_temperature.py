"""Contrasts of black bodies against astropy's Planck law and SciPy's quadrature."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy import units
from astropy.modeling.models import BlackBody
from scipy.integrate import quad

import spotgp
from spotgp.star.temperature import BANDS


def photons(temperature, low, high, transmission=lambda x: 1.0):
    law = BlackBody(temperature * units.K, scale=1.0 * units.Unit("W / (m2 nm sr)"))

    def integrand(x):
        return float(law(x * units.nm).value) * x * transmission(x)

    return quad(integrand, low, high, epsabs=0.0, epsrel=1e-10)[0]


@pytest.mark.parametrize("name", ["Kepler", "TESS", "B", "Gaia G"])
@pytest.mark.parametrize("t_spot", [2800.0, 4800.0, 6500.0])
def test_black_bodies_in_named_bands(name, t_spot):
    expected = 1 - photons(t_spot, *BANDS[name]) / photons(5500.0, *BANDS[name])
    assert float(spotgp.band_contrast(t_spot, 5500.0, name)) == pytest.approx(expected, rel=1e-7)


def test_a_table_of_transmissions():
    wavelength = np.array([400.0, 520.0, 530.0, 800.0])
    transmission = np.array([0.0, 0.5, 0.9, 0.1])
    parts = [
        sum(
            photons(t, *ends, lambda x: np.interp(x, wavelength, transmission))
            for ends in itertools.pairwise(wavelength)
        )
        for t in (4300.0, 5500.0)
    ]
    band = spotgp.Passband.table(wavelength * units.nm, transmission)
    # three nodes in every interval, the last of which is wide
    got = float(spotgp.band_contrast(4300.0, 5500.0, band))
    assert got == pytest.approx(1 - parts[0] / parts[1], rel=1e-5)
    scaled = spotgp.Passband.table(wavelength / 1000 * units.um, 3 * transmission)
    assert float(spotgp.band_contrast(4300.0, 5500.0, scaled)) == pytest.approx(got)


def test_a_table_of_spectra():
    temperature, wavelength = np.linspace(3000.0, 7000.0, 81), np.linspace(400.0, 900.0, 501)
    flux = np.stack([spotgp.blackbody(wavelength, t) for t in temperature])
    spectra = spotgp.SpectrumTable(temperature, wavelength, 7.0 * flux)
    for t_spot in (3000.0, 4321.0):
        got = spotgp.band_contrast(t_spot, 5678.0, "V", spectra)
        assert float(got) == pytest.approx(
            float(spotgp.band_contrast(t_spot, 5678.0, "V")), abs=1e-4
        )


@pytest.mark.parametrize("spectrum", ["black body", "table"])
def test_gradients(spectrum):
    curve = spotgp.blackbody
    if spectrum == "table":
        temperature, wavelength = jnp.linspace(3000.0, 7000.0, 9), jnp.linspace(400.0, 900.0, 60)
        flux = jnp.stack([curve(wavelength, t) for t in temperature])
        curve = spotgp.SpectrumTable(temperature, wavelength, flux)

    def contrast(t_spot, t_phot):
        return spotgp.band_contrast(t_spot, t_phot, "TESS", curve)

    found = jax.grad(contrast, (0, 1))(4210.0, 5630.0)
    h = 0.05
    for gradient, up, down in (
        (found[0], contrast(4210.0 + h, 5630.0), contrast(4210.0 - h, 5630.0)),
        (found[1], contrast(4210.0, 5630.0 + h), contrast(4210.0, 5630.0 - h)),
    ):
        assert float(gradient) == pytest.approx(float(up - down) / (2 * h), rel=1e-6)


def test_limits_and_shapes():
    assert float(spotgp.band_contrast(5000.0, 5000.0, "V")) == 0.0
    assert float(spotgp.band_contrast(6000.0, 5000.0, "V")) < 0.0
    # a narrow band has Planck's law itself; bluer light has more contrast
    narrow = spotgp.Passband.tophat(499.9, 500.1)
    expected = 1 - float(spotgp.blackbody(500.0, 4000.0) / spotgp.blackbody(500.0, 5000.0))
    assert float(spotgp.band_contrast(4000.0, 5000.0, narrow)) == pytest.approx(expected, rel=1e-7)
    colours = [float(spotgp.band_contrast(4000.0, 5000.0, name)) for name in "UBVRI"]
    assert colours == sorted(colours, reverse=True)
    spots = np.array([[3500.0, 4000.0], [4500.0, 5000.0]])
    many = spotgp.band_contrast(spots, 5800.0, "V")
    assert many.shape == (2, 2)
    assert float(many[0, 1]) == pytest.approx(float(spotgp.band_contrast(4000.0, 5800.0, "V")))


def star():
    return spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=6.0, tau_spot=2.0),
        visibility=spotgp.VisibilityFunction(peq=4.0, kappa=0.0, inc=1.2),
        sigma_k=0.01,
    )


def test_two_bands_of_a_simulated_spot_have_the_ratio_of_contrasts():
    bands = {name: spotgp.TemperatureBand(4300.0, 5800.0, name) for name in ("B", "I")}
    spots = spotgp.Spots([0.0], [0.3], [0.5], [0.2], [1.0])
    curves = spotgp.channel_curves(star(), spots, np.zeros(1), bands)
    ratio = float(curves["B"][0] / curves["I"][0])
    contrasts = [1 - photons(4300.0, *BANDS[b]) / photons(5800.0, *BANDS[b]) for b in "BI"]
    assert ratio == pytest.approx(contrasts[0] / contrasts[1], rel=1e-7)
    black = float(spotgp.light_curve(star(), spots, np.zeros(1))[0]) - 1.0
    assert float(curves["B"][0]) == pytest.approx(contrasts[0] * black, rel=1e-6)


def test_one_band_cannot_tell_dark_spots_from_large_ones_and_two_can():
    t = np.arange(0.0, 24.0, 1.0)
    bands = {name: spotgp.TemperatureBand(4300.0, 5800.0, name) for name in ("B", "I")}
    flux = {b: 1.0 - 0.02 * float(bands[b].contrast) * np.cos(t) for b in bands}
    cooler = {b: float(spotgp.band_contrast(3800.0, 5800.0, b)) for b in bands}
    smaller = 0.01 * float(bands["B"].contrast) / cooler["B"]
    changes = {}
    for names in ("B", "BI"):
        gp = spotgp.ChannelSolver(
            {name: (t, flux[name], 1e-4) for name in names},
            star(),
            {name: bands[name] for name in names},
            priors={
                tuple(f"channels.{name}.t_spot" for name in names): (3000.0, 5700.0),
                "sigma_k": (1e-3, 0.1),
            },
            solver="dense",
        )
        initial = gp.posterior.initial
        temperature, amplitude = (
            next(name for name in initial if part in name) for part in ("t_spot", "sigma_k")
        )
        both = [
            float(gp.posterior.log_likelihood_of(gp.posterior.model_at(initial | values)))
            for values in (
                {temperature: 4300.0, amplitude: 0.01},
                {temperature: 3800.0, amplitude: smaller},
            )
        ]
        changes[names] = both[0] - both[1]
    assert abs(changes["B"]) < 1e-6
    assert changes["BI"] > 10.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spotgp.band_contrast(-1.0, 5000.0, "V"), "t_spot must be > 0"),
        (lambda: spotgp.band_contrast(4000.0, 5000.0, "Z"), "'Z' is unknown: choose one of"),
        (lambda: spotgp.band_contrast(4000.0, 5000.0, 500.0), "band is a float"),
        (lambda: spotgp.band_contrast(4000.0, 5000.0, "V", 3.0), "spectrum = 3.0 is no function"),
        (lambda: spotgp.Passband.tophat(900.0, 400.0), "low = 900"),
        (lambda: spotgp.Passband.table([1.0, 2.0], [0.0, 0.0]), "not 0 everywhere"),
        (lambda: spotgp.Passband.table([2.0, 1.0], [1.0, 1.0]), "ascending"),
        (lambda: spotgp.SpectrumTable([1.0, 2.0], [1.0, 2.0], np.zeros((2, 2))), "flux must be"),
        (lambda: spotgp.SpectrumTable([1.0, 2.0], [1.0, 2.0], np.ones((3, 2))), "flux"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
