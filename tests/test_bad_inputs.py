"""Bad input everywhere: a ValueError or TypeError that names an argument, never anything else."""

import warnings

import numpy as np
import pytest

import grater
import spotgp

BAD = {
    "text": "abc",
    "nan": float("nan"),
    "infinite": float("inf"),
    "none of a kind": object(),
    "complex": 1.0 + 1.0j,
    "empty": np.array([]),
    "list of text": ["a", "b"],
    "dictionary": {"a": 1.0},
    "boolean": True,
    "matrix": np.ones((2, 2, 2)),
    "class": int,
    "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "ragged": [[1.0], [1.0, 2.0]],
}
T = np.arange(20.0)
STAR = {"peq": 5.0, "kappa": 0.2, "inc": 1.0}
DISK = {
    "semi_major_axis": 40.0, "inclination": 60.0, "position_angle": 30.0, "alpha_in": 5.0,
    "alpha_out": -5.0, "scale_height": 3.0,
}  # fmt: skip


def model():
    return spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
        visibility=spotgp.VisibilityFunction(**STAR),
        sigma_k=0.01,
    )


# what is built, good arguments, and those that are spoilt one by one
CASES = {
    "Disk": (grater.Disk, DISK, tuple(DISK)),
    "HenyeyGreenstein": (grater.HenyeyGreenstein, {"g": 0.3}, ("g",)),
    "SplinePhase": (
        grater.SplinePhase,
        {"knots": [-0.8, 0.0, 0.8], "values": [1.0, 1.0, 1.0]},
        ("knots", "values"),
    ),
    "TabulatedPhase": (
        grater.TabulatedPhase, {"angle": [0.0, 90.0], "values": [1.0, 1.0]}, ("angle", "values"),
    ),
    "GaussianRing": (grater.GaussianRing, {"width": 0.1}, ("width",)),
    "GaussianPSF": (grater.GaussianPSF, {"fwhm": 3.0}, ("fwhm",)),
    "MoffatPSF": (grater.MoffatPSF, {"fwhm": 3.0, "beta": 2.5}, ("fwhm", "beta")),
    "ImagePSF": (grater.ImagePSF, {"image": np.eye(3)}, ("image",)),
    "Grid": (
        grater.Grid, {"shape": (8, 8), "pixel_scale": 0.1, "distance": 70.0},
        ("shape", "pixel_scale", "distance"),
    ),
    "Observation": (
        grater.Observation,
        {"image": np.ones((8, 8)), "error": np.ones((8, 8)), "pixel_scale": 0.1, "distance": 70.0},
        ("image", "error", "pixel_scale", "distance"),
    ),
    "Polarized": (
        grater.Polarized, {"phase": grater.HenyeyGreenstein(0.3), "peak": 0.4}, ("phase", "peak"),
    ),
    "Scene": (
        grater.Scene, {"disk": grater.Disk(**DISK), "grid": grater.Grid((8, 8), 0.1, 70.0)},
        ("disk", "grid"),
    ),
    "StudentTNoise": (grater.StudentTNoise, {"scale": 1.0, "df": 4.0}, ("scale", "df")),
    "VisibilityFunction": (spotgp.VisibilityFunction, STAR, tuple(STAR)),
    "TrapezoidSymmetricEnvelope": (
        spotgp.TrapezoidSymmetricEnvelope, {"lspot": 8.0, "tau_spot": 3.0}, ("lspot", "tau_spot"),
    ),
    "ExponentialEnvelope": (spotgp.ExponentialEnvelope, {"tau_spot": 3.0}, ("tau_spot",)),
    "SpotEvolutionModel": (
        spotgp.SpotEvolutionModel,
        {"envelope": spotgp.ExponentialEnvelope(3.0),
         "visibility": spotgp.VisibilityFunction(**STAR), "sigma_k": 0.01},
        ("envelope", "visibility", "sigma_k"),
    ),
    "AnalyticKernel": (
        spotgp.AnalyticKernel, {"model": model(), "orders": (0, 1), "nodes": 8},
        ("model", "orders", "nodes"),
    ),
    "TimeSeriesData": (
        spotgp.TimeSeriesData, {"time": T, "flux": 1.0 + T, "flux_err": np.ones(20)},
        ("time", "flux", "flux_err", "segment", "mask"),
    ),
    "GPSolver": (
        spotgp.GPSolver,
        {"t": T, "flux": 1.0 + T, "flux_err": np.ones(20), "model": model()},
        (*("t", "flux", "flux_err", "model", "mean", "jitter"), *("offsets", "solver", "priors")),
    ),
    "lomb_scargle": (
        spotgp.lomb_scargle, {"time": T, "flux": np.sin(T)},
        ("time", "flux", "flux_err", "min_period", "max_period", "n_terms", "oversampling"),
    ),
    "autocorrelation": (
        spotgp.autocorrelation, {"time": T, "flux": np.sin(T)},
        ("time", "flux", "flux_err", "max_lag", "step", "smoothing"),
    ),
    "rotation_period": (
        spotgp.rotation_period, {"time": T, "flux": np.sin(T)},
        ("time", "flux", "flux_err", "segment", "min_period", "max_period"),
    ),
    "radial_map": (
        grater.radial_map,
        {"grid": grater.Grid((8, 8), 0.1, 70.0), "radius": [1.0, 2.0], "value": [0.5, 1.0]},
        ("grid", "radius", "value"),
    ),
    "SHOTerm": (spotgp.SHOTerm, {"sigma": 0.1, "rho": 1.0}, ("sigma", "rho")),
    "LatitudeBand": (
        spotgp.LatitudeBand, {"lower": 0.1, "upper": 0.5}, ("lower", "upper", "hemispheres"),
    ),
    "CallableLatitude": (spotgp.CallableLatitude, {"function": np.cos}, ("function",)),
}  # fmt: skip
ALL = [(name, argument, kind) for name in CASES for argument in CASES[name][2] for kind in BAD]


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_by_name(name):
    build, good, arguments = CASES[name]
    wrong = []
    for argument in arguments:
        for kind, value in BAD.items():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    build(**{**good, argument: value})
            except (ValueError, TypeError) as error:
                if not any(name in str(error) for name in (argument, *good)):
                    wrong.append(f"{argument} = {kind}: {type(error).__name__}: {str(error)[:150]}")
            except Exception as error:
                wrong.append(f"{argument} = {kind}: {type(error).__name__}: {str(error)[:150]}")
            else:
                wrong.append(f"{argument} = {kind}: accepted")
    assert not wrong, "\n".join(wrong)


def test_there_are_enough():
    assert len(ALL) >= 400
