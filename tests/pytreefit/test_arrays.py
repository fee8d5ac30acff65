"""The one door for arrays: whatever kind of array comes in, plain float64 or a sentence."""

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Column, MaskedColumn
from astropy.time import Time, TimeDelta
from astropy.utils.masked import Masked

from pytreefit import Model, param
from pytreefit.extend import as_booleans, as_data, as_floats, as_integers, unit_of

VALUES = np.array([1.0, 2.0, 3.0])
MASK = np.array([False, True, False])
READ_ONLY = VALUES.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    "value",
    [
        [1, 2, 3],
        (1.0, 2.0, 3.0),
        range(1, 4),
        VALUES.astype(">f4"),
        VALUES.astype("<i2"),
        VALUES.astype(np.uint8),
        VALUES.astype(np.float16),
        VALUES.astype(np.longdouble),
        np.repeat(VALUES, 2)[::2],
        READ_ONLY,
        jnp.asarray(VALUES),
        jnp.asarray(VALUES, jnp.bfloat16),
        Column(VALUES, name="flux"),
        VALUES * u.Jy,
        MaskedColumn(VALUES, unit="Jy"),
        np.ma.masked_invalid(VALUES),
        Masked(VALUES),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}",
)
def test_every_kind_of_array_becomes_native_float64(value):
    found = as_data("Data.flux", value)
    assert type(found) is np.ndarray
    assert found.dtype == np.float64
    assert found.dtype.isnative
    assert found.flags.writeable
    np.testing.assert_array_equal(found, VALUES)


def test_the_result_is_a_copy():
    found = as_data("Data.flux", VALUES)
    assert not np.shares_memory(found, VALUES)


def test_numbers_and_empty_arrays_stay_what_they_are():
    assert as_data("Data.error", 2).shape == ()
    assert as_data("Data.error", np.float32(2)).dtype == np.float64
    assert as_data("Data.flux", []).shape == (0,)


def test_pandas():
    pandas = pytest.importorskip("pandas")
    series = pandas.Series(VALUES, index=["unit", "mask", "value"])
    np.testing.assert_array_equal(as_data("Data.flux", series), VALUES)


@pytest.mark.parametrize(
    "value",
    [
        np.ma.array(VALUES, mask=MASK),
        np.ma.array([1, 2, 3], mask=MASK, fill_value=-9),
        Masked(VALUES, mask=MASK),
        Masked(VALUES * u.d, mask=MASK),
        Masked(VALUES * 24 * u.h, mask=MASK),
        MaskedColumn(VALUES, mask=MASK),
        MaskedColumn([24, 48, 72], mask=MASK, unit="h"),
        TimeDelta(Masked(VALUES, mask=MASK), format="jd"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_masked_entries_become_nan(value):
    found = as_data("Data.time", value, "d")
    np.testing.assert_allclose(found, [1.0, np.nan, 3.0], rtol=1e-15)


@pytest.mark.parametrize(
    "value",
    [VALUES * 86400 * u.s, Column(VALUES * 24, unit="h"), TimeDelta(VALUES, format="jd")],
)
def test_units_are_converted(value):
    np.testing.assert_allclose(as_data("Data.time", value, "d"), VALUES, rtol=1e-15)


def test_dimensionless_is_a_unit_too():
    np.testing.assert_allclose(as_data("Data.flux", 100 * VALUES * u.percent, ""), VALUES)
    with pytest.raises(TypeError, match=r"Data.flux = .* cannot be converted to a dimensionless"):
        as_data("Data.flux", VALUES * u.Jy, "")


def test_the_unit_of_data():
    assert unit_of(VALUES * u.Jy) == u.Jy
    assert unit_of(MaskedColumn(VALUES, unit="Jy")) == u.Jy
    assert unit_of(Column(VALUES)) is unit_of(VALUES) is unit_of([1.0]) is None


@pytest.mark.parametrize("value", [VALUES * u.m, Column(VALUES, unit="m"), Masked(VALUES * u.m)])
def test_another_dimension_is_refused(value):
    with pytest.raises(TypeError, match=r"Data.time = .* cannot be converted to unit 'd'.*Pass a"):
        as_data("Data.time", value, "d")


@pytest.mark.parametrize(
    "value",
    [
        VALUES * u.mag,
        VALUES * u.mmag,
        u.Magnitude(VALUES),
        VALUES * u.ABmag,
        Column(VALUES, unit="mag"),
        MaskedColumn(VALUES, unit="mag", mask=MASK),
        Masked(VALUES * u.mag),
        VALUES * u.dB,
    ],
    ids=str,
)
@pytest.mark.parametrize("unit", [None, "", "Jy"])
def test_magnitudes_are_refused_with_how_to_convert(value, unit):
    with pytest.raises(TypeError, match=r"Data.flux is in .*10\*\*\(-0.4 \* .*0.921 \* flux"):
        as_data("Data.flux", value, unit)


def test_the_conversion_from_magnitudes_that_is_named():
    magnitude, step = 12.0 + VALUES, 1e-6
    flux = 10 ** (-0.4 * (magnitude - np.median(magnitude)))
    brighter = 10 ** (-0.4 * (magnitude - step - np.median(magnitude)))
    np.testing.assert_allclose(brighter - flux, 0.921 * flux * step, rtol=1e-3)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["1", "2"], "holds strings"),
        (np.array([b"1"]), "holds strings"),
        ([1.0, None], "holds objects, not real numbers: pass floats, with NaN"),
        (None, "holds objects"),
        ({"flux": 1}, "holds objects"),
        ([1 + 2j], "holds complex128"),
        (MASK, "holds booleans, not real numbers: pass True or False as a mask"),
        (np.array(["2020-01-01"], "M8[D]"), "holds dates"),
        (np.zeros(2, [("a", float)]), "holds "),
        ([[1.0], [1.0, 2.0]], "cannot be made an array"),
        ([1 * u.Jy, 2 * u.Jy], "cannot be made an array.*one astropy Quantity in place of a list"),
        (Time([2450000.0], format="jd"), "is a Time: pass plain numbers"),
    ],
)
def test_what_holds_no_real_numbers_is_refused(value, message):
    with pytest.raises(TypeError, match=f"^Data.flux {message}"):
        as_data("Data.flux", value)


def test_a_quantity_of_another_library_is_refused():
    class Other:
        magnitude, units = VALUES, "d"

    with pytest.raises(TypeError, match="another library"):
        as_data("Data.flux", Other())


def test_rank_and_shape():
    assert as_data("Data.error", 1.0, ndim=(0, 1)).shape == ()
    with pytest.raises(ValueError, match=r"Data.flux has shape \(\) but must be one-dimensional"):
        as_data("Data.flux", 1.0, ndim=1)
    with pytest.raises(ValueError, match=r"\(3,\) but must be a number or two-dimensional"):
        as_data("Data.error", VALUES, ndim=(0, 2))
    with pytest.raises(ValueError, match=r"\(3,\) but must have shape \(4,\)"):
        as_data("Data.flux", VALUES, shape=(4,))


def test_traced_values_pass_through():
    @jax.jit
    def double(x):
        return 2 * as_data("Data.flux", x, "Jy", ndim=1)

    np.testing.assert_array_equal(double(jnp.asarray(VALUES)), 2 * VALUES)
    assert float(jax.grad(lambda x: as_data("Data.flux", x) ** 2)(3.0)) == 6.0
    with pytest.raises(ValueError, match="two-dimensional"):
        jax.jit(lambda x: as_data("Data.image", x, ndim=2))(jnp.asarray(VALUES))


def test_too_large_for_single_precision_is_infinite_without_a_warning():
    with jax.enable_x64(False):
        found = as_floats(as_data("Data.flux", [1.0, 1e300]))
    assert found.dtype == jnp.float32
    assert found.tolist() == [1.0, np.inf]


def test_booleans():
    np.testing.assert_array_equal(as_booleans("Data.mask", [True, False]), [True, False])
    np.testing.assert_array_equal(as_booleans("Data.mask", jnp.asarray(MASK)), MASK)
    used = np.ma.array([True, True, False], mask=MASK)
    np.testing.assert_array_equal(as_booleans("Data.mask", used), [True, False, False])
    with pytest.raises(TypeError, match=r"Data.mask holds int64, not booleans.*flags == 0"):
        as_booleans("Data.mask", np.array([0, 1]))
    with pytest.raises(ValueError, match="must have shape"):
        as_booleans("Data.mask", MASK, shape=(2,))


def test_integers():
    found = as_integers("Data.segment", np.array([0, 1], ">i2"))
    assert found.dtype == np.int64
    with pytest.raises(TypeError, match=r"Data.segment holds float64, not integers"):
        as_integers("Data.segment", VALUES)
    with pytest.raises(ValueError, match="masked entries"):
        as_integers("Data.segment", np.ma.array([0, 1, 2], mask=MASK))


def test_a_parameter_takes_quantities_but_nothing_masked():
    class Line(Model):
        slope: jax.Array = param(unit="m")
        magnitude: jax.Array = param(unit="mag", default=1.0)

    assert float(Line(1 * u.km).slope) == 1000.0
    assert float(Line(np.ma.array(2.0)).slope) == 2.0
    assert float(Line(1.0, 3 * u.mag).magnitude) == 3.0
    with pytest.raises(TypeError, match=r"Line.slope is masked: a parameter needs a value"):
        Line(Masked(1 * u.m, mask=True))
    with pytest.raises(TypeError, match="logarithmic"):
        Line(1 * u.mag)
