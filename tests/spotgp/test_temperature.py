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
