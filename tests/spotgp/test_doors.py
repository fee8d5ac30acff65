"""Units, masks and times at every door of the light curves: the same answer, or a refusal."""

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.time import Time, TimeDelta

import spotgp
from factories import make_star
from pytreefit import fit
from spotgp import TimeSeriesData

PEQ = "model.visibility.peq"


@pytest.fixture(scope="module")
def columns():
    rng = np.random.default_rng(0)
    t = np.arange(0.0, 20.0, 0.2)
    flux = 1.0 + 0.01 * np.sin(2.0 * np.pi * t / 5.0) + 1e-3 * rng.normal(size=t.size)
    return t, flux, np.full(t.size, 1e-3)


@pytest.fixture(scope="module")
def star():
    return make_star(peq=5.0)


@pytest.fixture(scope="module")
def gp(columns, star):
    return spotgp.GPSolver(*columns, star)


def test_units_of_columns(columns, star, gp):
    t, flux, error = columns
    wanted = float(gp.log_likelihood())
    ppm = u.Unit("1e-6")
    for other in (
        ((24.0 * t) * u.h, 100.0 * flux * u.percent, 1e6 * error * ppm),
        (t * u.d, flux, 100.0 * error * u.percent),
    ):
        assert float(spotgp.GPSolver(*other, star).log_likelihood()) == pytest.approx(wanted)
    t, flux, error = (24.0 * t) * u.h, flux, 100.0 * error * u.percent
    data = TimeSeriesData(t, flux, error)
    np.testing.assert_allclose(data.flux_err, 1e-3)
    assert spotgp.lomb_scargle(t, flux, error).period == pytest.approx(5.0, rel=0.03)
    found = spotgp.rotation_period(t, flux, error)
    assert found.period == pytest.approx(spotgp.rotation_period(*columns).period)
    with pytest.raises(TypeError, match="flux_err"):
        TimeSeriesData(t, flux, 1e-3 * u.Jy)
    assert TimeSeriesData(t, flux * u.electron / u.s, 86400.0 * error * u.electron / u.d).unit


def test_units_of_a_time_series(columns, star, gp):
    t, flux, error = columns
    wanted = float(gp.log_likelihood())
    ppm = TimeSeriesData(t, 1e6 * (flux - 1.0), 1e6 * error, unit="ppm")
    of_ppm = spotgp.GPSolver.from_data(ppm, star)
    assert float(of_ppm.log_likelihood()) == pytest.approx(wanted)
    label = TimeSeriesData(t, flux, error, unit="relative flux")
    assert spotgp.GPSolver.from_data(label, star).data.flux[0] == pytest.approx(flux[0])
    counts = TimeSeriesData(t, 2e4 * flux, 2e4 * error, unit="e-/s")
    channels = {"flux": spotgp.FluxBand()}
    for use in (
        lambda data: spotgp.GPSolver.from_data(data, star),
        lambda data: spotgp.ChannelSolver({"flux": data}, star, channels),
        lambda data: data.to(""),
    ):
        with pytest.raises(ValueError, match=r"e-/s.*normalize"):
            use(counts)
    assert "The flux is in e-/s" in str(spotgp.fit_many([counts], star, progress=False))
    assert counts.normalize().to("ppm").unit == "ppm"
    for label, ratio in (("1e-06", 1e-6), ("PPT", 1e-3), ("electrons/s", None), ("ADU/s", None)):
        given = TimeSeriesData(t, flux, error, unit=label)
        if ratio is None:
            with pytest.raises(ValueError, match="normalize"):
                given.to("")
        else:
            np.testing.assert_allclose(given.to("").flux, ratio * flux)
            np.testing.assert_allclose(given.to("").to(label).flux, flux)
    with pytest.raises(ValueError, match="magnitude"):
        TimeSeriesData(t, 12.0 + flux, 0.1, unit="mag").to("")
    velocities = TimeSeriesData(t, flux, error, unit="km / s").to("m / s")
    np.testing.assert_allclose(velocities.flux, 1000.0 * flux)


def test_predictions_at_times_that_two_segments_share(star):
    t = np.repeat(np.arange(10.0), 2)
    segment = np.tile([0, 1], 10)
    rng = np.random.default_rng(2)
    flux = 1.0 + 0.1 * segment + 1e-3 * rng.normal(size=t.size)
    gp = spotgp.GPSolver(t, flux, 1e-3, star, offsets=segment)
    for times in (None, t):
        residual = flux - np.asarray(gp.predict(times).mean)
        assert np.max(np.abs(residual)) < 0.02


def test_units_of_parameters(columns, star, gp):
    values = gp.values()
    moved = {**values, PEQ: 120.0 * u.h}
    np.testing.assert_allclose(gp.posterior.unconstrain(moved), gp.posterior.unconstrain(values))
    assert float(gp.posterior.model_at(moved).get(PEQ)) == pytest.approx(5.0)
    with pytest.raises(TypeError, match="peq"):
        gp.posterior.model_at({**values, PEQ: 120.0 * u.km})
    priors = spotgp.GPSolver(*columns, star, priors={"peq": (48.0 * u.h, 20.0)}).posterior.priors
    assert float(priors[PEQ].low) == pytest.approx(2.0)
    with pytest.raises(TypeError, match="peq"):
        spotgp.GPSolver(*columns, star, priors={"peq": (0.0, 9.0 * u.km / u.s)})
    started = fit(gp.posterior, start={PEQ: 120.0 * u.h}, steps=1, progress=False)
    assert np.isfinite(started.log_density)


def test_units_of_lags_and_times(star, gp):
    kernel = spotgp.AnalyticKernel(star)
    np.testing.assert_allclose(kernel.kernel([24.0] * u.h), kernel.kernel(np.array([1.0])))
    np.testing.assert_allclose(gp.predict([24.0] * u.h).mean, gp.predict(np.array([1.0])).mean)


def test_masks(columns, star):
    t, flux, error = columns
    spoilt = flux.copy()
    spoilt[10] = 1e3
    masked = np.ma.masked_where(np.arange(t.size) == 10, spoilt)
    wanted = spotgp.GPSolver(*(np.delete(column, 10) for column in columns), star).log_likelihood()
    with pytest.warns(UserWarning, match="1 of 100 points are not finite"):
        gp = spotgp.GPSolver(t, masked, error, star)
    assert float(gp.log_likelihood()) == pytest.approx(float(wanted))
    assert len(TimeSeriesData(t, masked, error)) == t.size - 1
    with pytest.raises(ValueError, match="not finite"):
        spotgp.rotation_period(t, masked)


def test_numbers_of_any_kind_are_a_mean(columns, star):
    wanted = float(spotgp.GPSolver(*columns, star, mean=1.0).log_likelihood())
    for mean in (np.float32(1.0), np.array(1.0), jnp.asarray(1.0), 1):
        gp = spotgp.GPSolver(*columns, star, mean=mean)
        assert float(gp.log_likelihood()) == pytest.approx(wanted, rel=1e-6)


class LightCurve:
    """What lightkurve's objects have."""

    def __init__(self, time, flux, flux_err):
        self.time, self.flux, self.flux_err, self.meta = time, flux, flux_err, {}


@pytest.mark.parametrize("name", ["jd", "mjd", "unix", "gps", "cxcsec", "decimalyear", "iso"])
def test_times_of_any_format(columns, name):
    t, flux, error = columns
    time = Time(2459000.5 + t, format="jd", scale="tdb")
    time.format = name
    data = TimeSeriesData.from_lightkurve(LightCurve(time, flux, error))
    assert data.span == pytest.approx(np.ptp(t), abs=1e-5)
    assert data.reference + data.time[0] == pytest.approx(2459000.5, abs=1e-3)


def test_what_are_no_times(columns):
    t, flux, error = columns
    folded = LightCurve(TimeDelta(t % 5.0, format="jd"), flux, error)
    with pytest.raises(ValueError, match="phases are no times"):
        TimeSeriesData.from_lightkurve(folded)
    with pytest.raises(ValueError, match=r"in single precision, in which only \d+ of 100 points"):
        TimeSeriesData((2459000.5 + t).astype(np.float32), flux, error)
    data = TimeSeriesData(t, flux, error)
    with pytest.raises(ValueError, match="are the same"):
        TimeSeriesData.concatenate([data, data])
