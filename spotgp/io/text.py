"""Light curves in text files: columns, and the tables of ASAS-SN, ZTF and KASOC."""

import io
import os
import re
from typing import Any

import numpy as np

from pytreefit.extend import check_kind

from .columns import LIKE_FLAGS
from .corrections import factor, from_magnitudes

# names in small letters, the preferred first
_TIMES = {"bjd": 0.0, "hjd": 0.0, "jd": 0.0, "mjd": 2400000.5, "btjd": 2457000.0}
_TIMES |= {"bkjd": 2454833.0, "time": None, "t": None}
_FLUXES = ("flux(mjy)", "flux (mjy)", "flux", "fcor", "pdcsap_flux", "sap_flux", "mag", "magnitude")
_ERRORS = ("flux_err", "flux err", "fluxerr", "flux_error", "flux error", "flux_unc", "e_flux")
_MAG_ERRORS = ("mag_err", "mag err", "magerr", "mag_error", "mag error", "mag_unc", "e_mag")
_OWN_ERRORS = ("{}_err", "e_{}", "{}_error", "{} err", "{}err", "err_{}", "sigma_{}", "{}_unc")
_ANY_ERRORS = ("error", "err", "sigma", "uncertainty", "unc")
_BANDS = ("filtercode", "filter", "phot_filter", "band")
_FLAGS = ("catflags", "quality")
_LOOKED_AT, _SHOWN = 5, 60  # lines that tell what is between columns; letters of one in errors
_MAG = re.compile("mag(?!e)")  # as in Vmag, not as in image


def from_text(
    path: str | os.PathLike, flux: str | None, band: str | None, columns: Any
) -> dict[str, Any]:
    """Columns of a text file, as arguments of `TimeSeriesData`."""
    from astropy.utils.data import get_readable_fileobj

    check_kind("path", path, str | os.PathLike)
    path = os.fspath(path)
    with get_readable_fileobj(path) as stream:
        content = stream.read()
    if not content.strip():
        raise ValueError(f"{path} is empty.")
    comments = " ".join(re.findall("^#.*", content, flags=re.MULTILINE)).lower()
    of_kasoc = "kasoc" in comments + os.path.basename(path).lower()
    if columns is None and of_kasoc and "ppm" in comments:
        return _kasoc(path, content, comments)
    table = _table(path, content, columns)
    names = {name.lower().strip(): name for name in table.colnames}
    time = _first(path, names, "time", tuple(_TIMES))
    wanted = (flux.lower(),) if flux is not None else _FLUXES
    value = _first(path, names, "flux", wanted)
    light, unit = _numbers(table[names[value]]), _unit(table[names[value]])
    magnitudes = bool(_MAG.search(value)) or unit == "mag"
    own = (name.format(value) for name in _OWN_ERRORS)
    errors = (*own, *(_MAG_ERRORS if magnitudes else _ERRORS), *_ANY_ERRORS)
    errors = [name for name in errors if name in names]
    keep, reasons = np.ones(len(table), bool), []
    kinds = [n for n in _BANDS if n in names]
    if kinds:
        keep &= _of_band(path, table[names[kinds[0]]], band)
        reasons.append("their band")
    for name in _FLAGS:
        if name in names:
            keep &= _good(table[names[name]])
            reasons.append(names[name])
    used = {time, value, *errors, *kinds, *_FLAGS}
    error = None
    if errors:
        column = table[names[errors[0]]]
        error = _numbers(column) * _factor(path, column, "mag" if magnitudes else unit)
    if magnitudes:
        light = light * _factor(path, table[names[value]], "mag")
        light, error = from_magnitudes(light, error, keep)
    days = table[names[time]]
    if not hasattr(days, "jd1"):  # no Time of astropy
        days = _numbers(days) * _factor(path, days, "d")
    return {
        "time": days,
        "flux": light,
        "flux_err": error,
        "unit": "" if magnitudes else unit,
        "reference": _TIMES[time],
        "mask": keep if reasons else None,
        "reason": " and ".join(reasons),
        "history": [f"Read {names[value]} from {os.path.basename(path)}{_left(names, used)}."],
    }


def _table(path: str, content: str, columns: Any) -> Any:
    from astropy.io import ascii

    named = {} if columns is None else {"names": list(columns)}
    lines = [line for line in content.splitlines() if line.strip() and line[0] != "#"]
    if lines and all(";" in line and "," not in line for line in lines[:_LOOKED_AT]):
        named["delimiter"] = ";"  # which astropy does not try
    try:
        return ascii.read(content.splitlines(), **named)
    except ascii.InconsistentTableError:  # its message lists all formats that were tried
        wanted = f" with the {len(columns)} columns {', '.join(columns)}" if columns else ""
        raise ValueError(
            f"{path} holds no table{wanted} that astropy.io.ascii can read; its first line is "
            f"{(lines or [''])[0][:_SHOWN]!r}."
        ) from None


def _of_band(path: str, column: Any, band: str | None) -> np.ndarray:
    """The points of a band, which may be left out where there is one."""
    labels = np.asarray(column).astype(str)
    there = list(dict.fromkeys(labels))
    if band is None and len(there) > 1:
        raise ValueError(
            f"{path} has points in the bands {', '.join(there)}: choose one with band=."
        )
    if band is not None and band not in there:
        raise ValueError(f"{path} has no band {band!r}, only {', '.join(there)}.")
    return labels == (there[0] if band is None else band)


def _good(column: Any) -> np.ndarray:
    """Where flags are 0, or "G" as ASAS-SN has them."""
    if column.dtype.kind in "US":
        return np.isin(np.ma.filled(np.ma.asarray(column), "").astype(str), ["0", "G"])
    return _numbers(column) == 0


def _left(names: dict[str, str], used: Any) -> str:
    """The columns that look like flags and are not known as such."""
    left = [own for name, own in names.items() if name not in used and LIKE_FLAGS.search(name)]
    return f"; {', '.join(left)} not used" if left else ""


def _kasoc(path: str, content: str, comments: str) -> dict[str, Any]:
    """Time, flux and error in ppm; the comments may say what was taken off the Julian date."""
    time, flux, error = np.loadtxt(io.StringIO(content), usecols=(0, 1, 2), ndmin=2).T
    zero = re.search(r"jd\s*-\s*(2[45]\d{5}(\.\d+)?)", comments)
    return {
        "time": time,
        "flux": 1.0 + 1e-6 * flux,
        "flux_err": 1e-6 * error,
        "reference": None if zero is None else float(zero.group(1)),
        "history": [f"Read ppm of KASOC from {os.path.basename(path)}."],
    }


def _first(path: str, names, what: str, wanted: tuple[str, ...]) -> str:
    found = [name for name in wanted if name in names]
    if not found:
        raise ValueError(
            f"{path} has no column of the {what} ({', '.join(wanted)} would do); its columns are "
            f"{', '.join(names.values())}. Give all columns such names with columns=, in their "
            "order, or that of the flux with flux=, or pass arrays: TimeSeriesData(time, flux, "
            "flux_err). Decimal commas are not read."
        )
    return found[0]


def _unit(column: Any) -> str:
    """The unit of a column, of its own or in its name, as in flux(mJy); "" if there is none."""
    if unit := getattr(column, "unit", None):
        return str(unit)
    return "mJy" if "(mjy)" in column.name.lower() else ""


def _factor(path: str, column: Any, unit: str) -> float:
    """What a column is multiplied by to be in a unit; 1 where its own is none that is known."""
    return factor(path, column.info.name, _unit(column), unit)


def _numbers(column: Any) -> np.ndarray:
    """The numbers of a column; NaN for limits such as ">17.2" and for what is missing."""
    if column.dtype.kind in "fiu":
        return np.ma.filled(np.ma.asarray(column, float), np.nan).astype(float)

    def number(entry: Any) -> float:
        try:
            return float(entry)
        except (TypeError, ValueError):
            return float("nan")

    return np.array([number(entry) for entry in column])
