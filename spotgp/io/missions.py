"""Light-curve files of Kepler, K2, TESS and CoRoT by whom they are, and their quality flags."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .columns import LIKE_FLAGS
from .corrections import factor, from_magnitudes

# Kepler Archive Manual (KDMC-10008-006), table 2-3; TESS Science Data Products Description
# Document (EXP-TESS-ARC-ICD-0014), table 28. "default" is what makes a point useless, "hard" adds
# cosmic rays, sensitivity dropouts, possible thruster firings and stray light.
_KEPLER_DEFAULT = 1 | 2 | 4 | 8 | 32 | 256 | 16384 | 65536 | 1048576
_TESS_DEFAULT = 1 | 2 | 4 | 8 | 32 | 128
QUALITY_BITS = {
    "Kepler": {"default": _KEPLER_DEFAULT, "hard": _KEPLER_DEFAULT | 128 | 1024 | 8192 | 524288},
    "TESS": {"default": _TESS_DEFAULT, "hard": _TESS_DEFAULT | 64 | 1024 | 2048 | 4096},
}
QUALITY_BITS["K2"] = QUALITY_BITS["Kepler"]
_EVEREST = 3 << 22  # flagged by the spacecraft, and not a number
_KASOC = 1 | 8 | 128  # bad data, and outliers of two kinds; the others are jumps that were mended
_ZERO_POINT = {"Kepler": 2454833.0, "K2": 2454833.0, "TESS": 2457000.0}  # BJD of time 0


def quality_bits(quality: Any, mission: str | None) -> int:
    """Return the bitmask for a name or a number, which depends on the mission."""
    if isinstance(quality, int | np.integer) and not isinstance(quality, bool):
        if quality < 0:
            raise ValueError(f"quality = {quality} is negative. Pass a bitmask >= 0, or a name.")
        return int(quality)
    if quality == "none":
        return 0
    if quality not in ("default", "hard"):
        raise ValueError(
            f"quality = {quality!r} is not known. Pass 'default', 'hard', 'none' or a bitmask (a "
            "point is masked if any of these bits is set)."
        )
    if mission not in QUALITY_BITS:
        raise ValueError(
            f"quality = {quality!r} means different bits in each mission and the mission is "
            f"{'not given' if mission is None else repr(mission)}. Pass mission='Kepler', 'K2' or "
            "'TESS', or quality= a bitmask or 'none'."
        )
    return QUALITY_BITS[mission][quality]


def by_quality(flags, quality: str | int, mission: str | None) -> dict[str, Any]:
    """The mask of points without a bad flag, and its reason."""
    bits = quality_bits(quality, mission)
    name = f"{quality!r}, " if isinstance(quality, str) else ""
    return {"mask": (flags & bits) == 0, "reason": f"their quality flags ({name}bits {bits})"}


def find_mission(*headers: Any) -> str | None:
    """Return "Kepler", "K2" or "TESS" as found in headers (or any mappings), or None."""
    said = [
        str(header.get(key, header.get(key.lower(), ""))).strip().upper()
        for header in headers
        for key in ("MISSION", "TELESCOP")
    ]
    for mission in ("K2", "Kepler", "TESS"):
        if mission.upper() in said:
            return mission
    return None


class Producer(NamedTuple):
    """How a pipeline lays out its tables; names of columns in capitals, the preferred first.

    ``error`` belongs to these columns of the flux, ``flags`` holds bits of the mission (or ``bits``
    by the names of masks), or flags that are ``good``; ``own_flags``, if there, are good where they
    are 0. ``relative`` is the unit of these fluxes about zero, ``zero`` the Julian date of time 0
    where it is not the mission's, NaN if only headers know it.
    """

    name: str
    time: str
    flux: tuple[str, ...]
    error: str = "{}_ERR"
    flags: str | None = None
    marker: str | None = None  # a column that only this one has
    bits: Mapping[str, int] | None = None
    good: tuple[str | int, ...] = ()
    relative: float | None = None
    zero: float | None = None
    own_flags: str | None = None
    filtered: tuple[str, ...] = ()  # how columns begin whose slow changes are gone


_QLP = "SYS_RM_FLUX", "SAP_FLUX", "KSPSAP_FLUX", "DET_FLUX"
_TGLC = "PSF_FLUX", "APERTURE_FLUX", "CAL_PSF_FLUX", "CAL_APER_FLUX"
# the first whose columns are all there
PRODUCERS = (
    *(Producer("QLP", "TIME", _QLP, flags="QUALITY", marker=one, filtered=("KSPSAP_", "DET_"))
      for one in ("KSPSAP_FLUX", "DET_FLUX", "SYS_RM_FLUX")),
    Producer("TGLC", "TIME", _TGLC, "", "TESS_FLAGS", marker="TESS_FLAGS", own_flags="TGLC_FLAGS",
             filtered=("CAL_",)),
    Producer("SPOC", "TIME", ("PDCSAP_FLUX", "SAP_FLUX"), flags="SAP_QUALITY"),
    Producer("TASOC", "TIME", ("FLUX_CORR",), flags="PIXEL_QUALITY", relative=1e-6),
    Producer("SPOC", "TIME", ("PDCSAP_FLUX",), flags="QUALITY"),
    Producer("CDIPS", "TMID_BJD", ("IFL1", "IFL2", "IFL3"), "IFE{1}", "IRQ1", good=("G", "0"),
             zero=0.0),
    Producer("eleanor", "TIME", ("CORR_FLUX", "PCA_FLUX", "RAW_FLUX"), "FLUX_ERR", "QUALITY",
             good=(0,)),
    Producer("K2SC", "TIME", ("FLUX",), "ERROR", "QUALITY", marker="TREND_P"),
    Producer("EVEREST", "TIME", ("FLUX",), "FRAW_ERR", "QUALITY", marker="FRAW",
             bits={name: bits | _EVEREST for name, bits in QUALITY_BITS["K2"].items()}),
    Producer("KASOC", "TIME", ("FLUX",), flags="KASOC_FLAG", relative=1e-6, zero=np.nan,
             bits={"default": _KASOC, "hard": 2**31 - 1}),
    Producer("K2SFF", "T", ("FCOR", "FRAW"), "", "MOVING", good=(0,)),
    Producer("CoRoT", "DATEHEL", ("WHITEFLUXSYS", "WHITEFLUX"), "WHITEFLUXDEV", "STATUS",
             good=(0,), zero=0.0),
    Producer("table", "TIME", ("FLUX",)),
)  # fmt: skip


def from_fits(
    path: str | os.PathLike, flux: str | None, quality: str | int, mission: str | None
) -> dict[str, Any]:
    """Columns of a light-curve file, as arguments of `TimeSeriesData`."""
    from astropy.io import fits

    if mission is not None and mission not in QUALITY_BITS:
        raise ValueError(f"mission = {mission!r} is not known. Pass 'Kepler', 'K2' or 'TESS'.")
    path = os.fspath(path)
    with open(path, "rb") as file, fits.open(file) as hdus:
        units: list[Any] = list(hdus)
        tables = [hdu for hdu in units if getattr(hdu, "columns", None) is not None]
        if not tables:
            raise ValueError(
                f"{path} holds no table, so it is no light-curve file; its HDUs are "
                f"{', '.join(repr(hdu.name) for hdu in units)}."
            )
        table = next((hdu for hdu in tables if hdu.name in ("LIGHTCURVE", "BESTAPER")), tables[0])
        primary = units[0].header
        found = find_mission(primary, table.header)
        _check_mission(path, mission, found, str(primary.get("TELESCOP", "")).strip())
        return _Table(path, table, primary, found).read(flux, quality)


class _Table:
    """A table of a light-curve file, whose layout is one of `PRODUCERS`."""

    def __init__(self, path: str, table: Any, primary: Any, mission: str | None):
        self.path, self.table, self.primary, self.mission = path, table, primary, mission
        self.names = {name.upper(): name for name in table.columns.names}

    def read(self, flux: str | None, quality: str | int) -> dict[str, Any]:
        """Arguments of `TimeSeriesData`."""
        producer, flux = self._layout(None if flux is None else flux.upper(), quality)
        keys = [k for k in ("QUARTER", "CAMPAIGN", "SECTOR") if self.primary.get(k) is not None]
        part = f" {keys[0].lower()} {self.primary[keys[0]]}" if keys else ""
        where = f"{self.mission or producer.name}{part}"
        return {
            "time": self._column(producer.time) * self._days(producer.time),
            **self._light(producer, flux),
            "name": str(self.primary.get("OBJECT", "")).strip(),
            "reference": self._zero(producer),
            "history": self._history(producer, flux, where, quality),
            **self._mask(producer, quality),
        }

    def _history(self, producer: Producer, flux: str, where: str, quality) -> list[str]:
        """What was read, and what to know of it."""
        left = ""
        if not (producer.flags or self._flags(producer, quality)):
            unused = [own for own in self.names.values() if LIKE_FLAGS.search(own.lower())]
            left = f"; {', '.join(unused)} not used" if unused else ""
        notes = [f"Read {flux} of {where} from {os.path.basename(self.path)}{left}."]
        if flux.startswith(producer.filtered):
            note = f"{producer.name} has filtered {flux}: slow rotation is weakened or gone."
            there = [name for name in producer.flux if name in self.names]
            others = [name for name in there if not name.startswith(producer.filtered)]
            notes.append(f"{note} Or choose flux={' or '.join(others)}." if others else note)
        return notes

    def _error(self, producer: Producer, flux: str) -> str | None:
        """The column of the errors that belong to a flux, if there is one."""
        own = [producer.error.format(flux, flux[-1:])] if flux in producer.flux else []
        wanted = (*own, f"{flux}_ERR", f"{flux}DEV")
        return next((name for name in wanted if name in self.names), None)

    def _light(self, producer: Producer, flux: str) -> dict[str, Any]:
        """Fluxes, errors and their unit; magnitudes become relative fluxes."""
        values, unit, error = self._column(flux), self._unit(flux), self._error(producer, flux)
        spread = None if error is None else self._column(error)
        if producer.relative and flux in producer.flux:
            values = 1.0 + producer.relative * values
            spread = None if spread is None else producer.relative * spread
            return {"flux": values, "flux_err": spread, "unit": ""}
        magnitudes = unit.lower().startswith("mag")
        unit = "mag" if magnitudes else unit
        if spread is not None and error and unit:  # else in the unit of the flux, which has none
            spread = spread * self._factor(error, unit)
        if magnitudes:
            values, spread = from_magnitudes(values, spread)
        return {"flux": values, "flux_err": spread, "unit": "" if magnitudes else unit}

    def _unit(self, name: str) -> str:
        return (self.table.columns[self.names[name]].unit or "").strip().replace("e-", "electron")

    def _factor(self, name: str, unit: str) -> float:
        own = self._unit(name)
        own = "mag" if unit == "mag" and own.lower().startswith("mag") else own
        return factor(self.path, name, own, unit)

    def _days(self, name: str) -> float:
        """What times are multiplied by; a D is a day here, not a debye."""
        return 1.0 if self._unit(name).strip() == "D" else self._factor(name, "d")

    def _layout(self, flux: str | None, quality: str | int) -> tuple[Producer, str]:
        """The producer, and the column of the flux; ValueError with the columns there are."""
        for producer in PRODUCERS:
            needed = {producer.time, producer.marker, producer.flags} - {None}
            needed -= {producer.flags} if quality == "none" else set()
            preferred = [name for name in producer.flux if name in self.names]
            there = preferred if flux is None else [name for name in (flux,) if name in self.names]
            if needed <= set(self.names) and preferred and there:
                return producer, there[0]
        would_do = [n for one in PRODUCERS for n in one.flux if n in self.names]
        hint = ""
        if would_do:
            hint = f" Choose the flux with flux=: {', '.join(dict.fromkeys(would_do))}."
        what = "of a layout that is known" if flux is None else flux
        raise ValueError(
            f"{self.path} has no column {what} in its table {self.table.name!r}, or its time or "
            f"flags are missing; its columns are {', '.join(self.names.values())}.{hint} Or read "
            "them yourself and pass arrays: TimeSeriesData(time, flux, flux_err)."
        )

    def _column(self, name: str, dtype: Any = np.float64) -> np.ndarray:
        return np.array(self.table.data[self.names[name]], dtype=dtype)

    def _zero(self, producer: Producer) -> float | None:
        """The Julian date of time 0."""
        start = self.table.header.get("BJDREFI", self.primary.get("BJDREFI"))
        fraction = self.table.header.get("BJDREFF", self.primary.get("BJDREFF", 0.0))
        zero = producer.zero
        if zero is not None and not np.isnan(zero):
            return zero
        if start is not None:
            return float(start) + float(fraction)
        return _ZERO_POINT.get(str(self.mission)) if zero is None else None

    def _flags(self, producer: Producer, quality: str | int) -> str | None:
        """The column of the flags: in any table one with bits that are known, or none."""
        if producer.flags is not None:
            return producer.flags if producer.flags in self.names else None
        known = self.mission is not None or not isinstance(quality, str) or quality == "none"
        for name in ("QUALITY", "SAP_QUALITY"):
            if known and name in self.names and self._entries(name).dtype.kind in "iu":
                return name
        return None

    def _entries(self, name: str) -> np.ndarray:
        return np.array(self.table.data[self.names[name]])

    def _mask(self, producer: Producer, quality: str | int) -> dict[str, Any]:
        """The mask of the points whose flags are good, and its reason."""
        column = self._flags(producer, quality)
        if column is None or (producer.good and quality in ("none", 0)):
            return {}
        flags = self._entries(column)
        text = flags.dtype.kind in "SU"  # which has no bits
        if producer.good and (text or isinstance(quality, str)) and quality_bits(quality, "Kepler"):
            flags = np.char.strip(flags) if text else flags
            return {
                "mask": np.isin(flags, producer.good),
                "reason": f"{producer.flags} of {producer.name}",
            }
        if producer.bits is not None and isinstance(quality, str):
            quality = producer.bits.get(quality, quality)
        found = by_quality(flags.astype(np.int64), quality, self.mission)
        own = producer.own_flags
        if own in self.names and isinstance(quality, str) and quality != "none":
            found["mask"] &= self._entries(own) == 0
            found["reason"] += f" and {own} of {producer.name}"
        return found


def _check_mission(path: str, wanted: str | None, found: str | None, telescope: str) -> None:
    if found is None:
        if wanted is None and telescope.upper() in ("", "COROT"):
            return  # the layout of the table says what it is
        raise ValueError(
            f"{path} has TELESCOP {telescope or 'not given'}, which is neither Kepler nor TESS. "
            "Read its columns yourself and pass arrays: TimeSeriesData(time, flux, flux_err)."
        )
    # K2 is Kepler's telescope with the same columns and flags
    if wanted is not None and wanted != found and (wanted, found) != ("Kepler", "K2"):
        raise ValueError(
            f"{path} is a light curve of {found}, but mission={wanted!r} was asked for. Pass "
            f"mission={found!r}, or leave mission out to take what the file says."
        )
