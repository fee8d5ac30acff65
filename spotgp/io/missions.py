"""Light-curve files of Kepler, K2 and TESS, and the meaning of their quality flags."""

import os
from typing import Any

import numpy as np

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


def from_fits(
    path: str | os.PathLike, flux: str, quality: str | int, mission: str | None
) -> dict[str, Any]:
    """Columns of a light-curve file of Kepler, K2 or TESS, as arguments of `TimeSeriesData`."""
    from astropy.io import fits

    if mission is not None and mission not in QUALITY_BITS:
        raise ValueError(f"mission = {mission!r} is not known. Pass 'Kepler', 'K2' or 'TESS'.")
    path = os.fspath(path)
    with fits.open(path) as hdus:
        units: list[Any] = list(hdus)
        tables = [hdu for hdu in units if getattr(hdu, "columns", None) is not None]
        if not tables:
            raise ValueError(
                f"{path} holds no table, so it is no light-curve file; its HDUs are "
                f"{', '.join(repr(hdu.name) for hdu in units)}."
            )
        table = next((hdu for hdu in tables if hdu.name == "LIGHTCURVE"), tables[0])
        primary = units[0].header
        found = find_mission(primary, table.header)
        _check_mission(path, mission, found, str(primary.get("TELESCOP", "")).strip())
        columns, flags, where = _columns(path, table, primary, flux.upper(), str(found))
    read = f"Read {flux} of {where} from {os.path.basename(path)}."
    return {**columns, "history": [read], **by_quality(flags, quality, found)}


def _columns(path: str, table: Any, primary: Any, flux: str, mission: str):
    """Columns and metadata of a table HDU, the quality flags, and the part of the mission."""
    header, names = table.header, {name.upper(): name for name in table.columns.names}
    flag = "SAP_QUALITY" if "SAP_QUALITY" in names else "QUALITY"
    missing = [name for name in ("TIME", flux, flag) if name not in names]
    if missing:
        raise ValueError(
            f"{path} has no column {' or '.join(missing)} in its table {table.name!r}; its "
            f"columns are {', '.join(names.values())}. Choose the flux with flux=."
        )

    def column(name: str, dtype=np.float64) -> np.ndarray:
        return np.array(table.data[names[name]], dtype=dtype)

    keys = [key for key in ("QUARTER", "CAMPAIGN", "SECTOR") if primary.get(key) is not None]
    start = header.get("BJDREFI", primary.get("BJDREFI"))
    fraction = header.get("BJDREFF", primary.get("BJDREFF", 0.0))
    columns = {
        "time": column("TIME"),
        "flux": column(flux),
        "flux_err": column(flux + "_ERR") if flux + "_ERR" in names else None,
        "name": str(primary.get("OBJECT", "")).strip(),
        "unit": (table.columns[names[flux]].unit or "").replace("e-", "electron"),  # as in astropy
        "reference": _ZERO_POINT[mission] if start is None else float(start) + float(fraction),
    }
    part = f" {keys[0].lower()} {primary[keys[0]]}" if keys else ""
    return columns, column(flag, np.int64), mission + part


def _check_mission(path: str, wanted: str | None, found: str | None, telescope: str) -> None:
    if found is None:
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
