"""Bad input everywhere: a ValueError or TypeError that names the argument, never anything else."""

import re
import warnings

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import grater
import pytreefit
import spotgp
from pytreefit import survey

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


def every(build, *more, **good):
    """What is built, good arguments, and all of them and more to be spoilt."""
    return build, good, (*good, *more)


DUST = grater.Disk(**DISK)
GRID = grater.Grid((8, 8), 0.1, 70.0)
IMAGE = grater.Observation(np.ones((8, 8)), np.ones((8, 8)), pixel_scale=0.1, distance=70.0)
PHASE = grater.HenyeyGreenstein(0.1)
KEY = jax.random.key(0)
SPOTS = spotgp.Spots([1.0], [0.1], [0.1], [0.1], [1.0])


def row(name, task, key):
    return {}


def square(phase):
    return -(phase.g**2)


POSTERIOR = pytreefit.Posterior(PHASE, square, {"g": (-0.9, 0.9)})
SERIES = spotgp.TimeSeriesData(T, 1.0 + 0.01 * np.sin(T), 1e-3)
GP = spotgp.GPSolver(T, SERIES.flux, 1e-3, model())

# what is built, good arguments, and those that are spoilt one by one
CASES = {
    "Disk": every(
        grater.Disk, "gamma", "beta", "eccentricity", "argument_of_pericenter", "offset_x",
        "offset_y", "flux", "phase", "phase_normalization", "density_normalization", **DISK,
    ),
    "Disk of profiles": (
        grater.Disk,
        {"semi_major_axis": 40.0, "inclination": 60.0, "position_angle": 30.0,
         "radial": grater.TwoPowerLaw(5.0, -5.0), "vertical": grater.VerticalExponential(3.0)},
        ("radial", "vertical"),
    ),
    "TwoPowerLaw": every(grater.TwoPowerLaw, alpha_in=5.0, alpha_out=-5.0),
    "VerticalExponential": every(
        grater.VerticalExponential, scale_height=3.0, gamma=2.0, beta=1.0
    ),
    "TwoHenyeyGreenstein": every(grater.TwoHenyeyGreenstein, g1=0.1, g2=0.2, weight=0.5),
    "MixedHenyeyGreenstein": every(
        grater.MixedHenyeyGreenstein, g=[0.1, 0.2], weight=[0.5, 0.5]
    ),
    "GaussianNoise": every(grater.GaussianNoise, scale=1.0),
    "PoissonNoise": every(grater.PoissonNoise, gain=1.0, background=0.0),
    "Rule": every(grater.Rule, accuracy=1e-4, nodes_on="auto"),
    "Channel": every(
        grater.Channel, "curve", "stokes", psf=grater.GaussianPSF(2.0),
        transmission=np.ones((8, 8)),
        throughput=np.ones((8, 8)), noise=grater.GaussianNoise(),
    ),
    "View": every(
        grater.View, grid=GRID, channel=grater.Channel(), roll=0.0, margin=1,
        accuracy=1e-4, nodes_on="auto", inner_radius=1.0, oversample=1,
    ),
    "View of parts": (
        grater.View, {"grid": GRID}, ("psf", "noise", "transmission", "throughput", "curve",
                                      "stokes"),
    ),
    "JointObservation": every(grater.JointObservation, images={"a": IMAGE}),
    "noise_map": every(
        grater.noise_map, image=np.eye(8), center=(4, 4), half_width=1.5,
        mask=np.ones((8, 8), bool),
    ),
    "derived": every(grater.derived, disk=DUST),
    "peak_radius": every(grater.peak_radius, disk=DUST),
    "ring_center": every(grater.ring_center, disk=DUST),
    "scattering_angles": every(grater.scattering_angles, disk=DUST),
    "surface_density": (grater.surface_density, {"disk": DUST, "q": 1.0}, ("disk",)),
    "near_side": every(grater.near_side, position_angles=[1.0, 2.0]),
    "HenyeyGreenstein": (grater.HenyeyGreenstein, {"g": 0.3}, ("g",)),
    "SplinePhase": (
        grater.SplinePhase,
        {"knots": [-0.8, 0.0, 0.8], "values": [1.0, 1.0, 1.0]},
        ("knots", "values"),
    ),
    "TabulatedPhase": (
        grater.TabulatedPhase, {"angle": [0.0, 90.0], "values": [1.0, 1.0]}, ("angle", "values"),
    ),
    "SplinePolarization": every(grater.SplinePolarization, knots=[-0.5, 0.5], values=[0.1, 0.2]),
    "TabulatedPolarization": every(
        grater.TabulatedPolarization, angle=[0.0, 90.0], values=[0.0, 0.5]
    ),
    "from_matrix": every(
        grater.Polarized.from_matrix, angle=[0.0, 90.0], s11=[1.0, 1.0], s12=[0.0, -0.5]
    ),
    "PointSource": every(grater.PointSource, east=0.1, north=0.2, flux=1.0),
    "scattering_angle_map": every(grater.scattering_angle_map, disk=DUST, view=GRID),
    "convert_brightness": (
        grater.convert_brightness,
        {"image": 1.0, "to": "Jy / sr", "unit": "mJy", "pixel_scale": 0.1, "star_flux": 1.0},
        ("to", "unit", "pixel_scale", "star_flux"),
    ),
    "SplineProfile": every(
        grater.SplineProfile, knots=[0.8, 1.2], values=[0.5, 0.6], alpha_in=3.0, alpha_out=-3.0
    ),
    "LegendrePhase": every(grater.LegendrePhase, coefficients=[0.5, 0.1]),
    "VerticalLorentzian": every(grater.VerticalLorentzian, scale_height=1.0, beta=1.0),
    "InnerEdge": every(
        grater.InnerEdge, profile=grater.GaussianRing(0.1), inner=0.8, inner_width=0.1
    ),
    "Clump": every(grater.Clump, amplitude=0.5, concentration=3.0, azimuth=10.0),
    "GaussianRing": (grater.GaussianRing, {"width": 0.1}, ("width",)),
    "GaussianPSF": every(grater.GaussianPSF, "size", fwhm=3.0),
    "EllipticalGaussianPSF": every(
        grater.EllipticalGaussianPSF, "size", fwhm_major=3.0, fwhm_minor=2.0, angle=30.0
    ),
    "FieldPSF": every(
        grater.FieldPSF, images=np.ones((1, 3, 3)), weights=np.ones((1, 8, 8)), shape=(8, 8),
        oversample=1, error=0.0,
    ),
    "FieldPSF.from_positions": every(
        grater.FieldPSF.from_positions, "center", images=np.ones((4, 3, 3)) + np.eye(3),
        positions=[(0, 0), (7, 0), (0, 7), (7, 7)], shape=(8, 8), interpolation="linear",
        accuracy=1e-3, oversample=1,
    ),
    "FieldPSF.from_zones": every(
        grater.FieldPSF.from_zones, "center", images=np.ones((1, 3, 3)), zones=np.zeros((8, 8)),
        accuracy=1e-3, oversample=1,
    ),
    "MoffatPSF": every(grater.MoffatPSF, "size", fwhm=3.0, beta=2.5),
    "ImagePSF": every(
        grater.ImagePSF, "normalization", "center", "oversample", image=np.eye(3)
    ),
    "Grid": every(
        grater.Grid, "center", shape=(8, 8), pixel_scale=0.1, distance=70.0, roll=0.0, parity=1,
        distortion=np.eye(2),
    ),
    "Observation": (
        grater.Observation,
        {"image": np.ones((8, 8)), "error": np.ones((8, 8)), "pixel_scale": 0.1, "distance": 70.0},
        ("image", "error", "pixel_scale", "distance", "mask", "center", "unit", "view",
         "starlight"),
    ),
    "Exposure": every(
        grater.Exposure, "unit", "name", image=np.ones((8, 8)), error=np.ones((8, 8)),
        mask=np.ones((8, 8), bool), pixel_scale=0.1, center=(4, 4), roll=0.0, parity=1,
        distortion=np.eye(2), transmission=np.ones((8, 8)), pixel_area=1e-13,
    ),
    "Starlight": every(
        grater.Starlight, references=np.ones((2, 8, 8)), width=1.0, constant=True, slope=False
    ),
    "FrameSequence": every(
        grater.FrameSequence, "mask", "center", "references", "components", "unit", "view",
        image=np.ones((2, 8, 8)), error=1.0, angles=[0.0, 9.0], pixel_scale=0.1, distance=70.0,
    ),
    "KLIP": every(
        grater.KLIP, modes=2, annuli=(1.0, 3.0), sections=1, movement=0.5, rotation=1.0,
        library="frames",
    ),
    "KLIPBasis": every(grater.KLIPBasis.of, references=np.eye(4), modes=1),
    "inject": every(grater.inject, data=IMAGE, scene=grater.Scene(DUST, grid=GRID)),
    "inject_and_fit": (
        grater.inject_and_fit,
        {"data": IMAGE, "scene": grater.Scene(DUST, grid=GRID),
         "priors": {"disk.inclination": (0.0, 90.0)}, "turns": [1.0]},
        ("data", "scene", "turns"),
    ),
    "ReducedFrames": (
        grater.ReducedFrames.of,
        {"frames": grater.FrameSequence(
            np.ones((2, 8, 8)), 1.0, angles=[0.0, 9.0], pixel_scale=0.1, distance=70.0),
         "klip": grater.KLIP(1), "reduced": None},
        ("frames", "klip", "reduced"),
    ),
    "fit_frames": every(grater.fit_frames, posterior=POSTERIOR, rounds=3, tolerance=0.1),
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
        ("time", "flux", "flux_err", "segment", "mask", "unit", "reference", "time_scale", "name",
         "history"),
    ),
    "GPSolver": (
        spotgp.GPSolver,
        {"t": T, "flux": 1.0 + T, "flux_err": np.ones(20), "model": model()},
        ("t", "flux", "flux_err", "model", "mean", "jitter", "offsets", "solver", "priors", "trend",
         "terms", "tolerance"),
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
    "photometric_activity": (
        spotgp.photometric_activity, {"time": T, "flux": np.sin(T), "period": 5.0},
        ("time", "flux", "flux_err", "period", "segment"),
    ),
    "variability_range": (
        spotgp.variability_range, {"time": T, "flux": np.sin(T)},
        ("time", "flux", "segment", "smoothing"),
    ),
    "radial_map": (
        grater.radial_map,
        {"grid": grater.Grid((8, 8), 0.1, 70.0), "radius": [1.0, 2.0], "value": [0.5, 1.0]},
        ("grid", "radius", "value"),
    ),
    "SHOTerm": every(spotgp.SHOTerm, "quality", sigma=0.1, rho=1.0),
    "Matern32Term": every(spotgp.Matern32Term, sigma=0.1, rho=1.0),
    "ConstantMean": every(spotgp.ConstantMean, value=1.0),
    "LinearMean": every(spotgp.LinearMean, value=1.0, slope=0.0, t0=0.0),
    "ExponentialAsymmetricEnvelope": every(
        spotgp.ExponentialAsymmetricEnvelope, tau_em=1.0, tau_dec=1.0
    ),
    "ExponentialPlateauEnvelope": every(
        spotgp.ExponentialPlateauEnvelope, tau_em=1.0, tau_plat=1.0, tau_dec=1.0
    ),
    "LogisticPlateauEnvelope": every(spotgp.LogisticPlateauEnvelope, lspot=1.0, tau_spot=1.0),
    "ModulatedGammaEnvelope": every(
        spotgp.ModulatedGammaEnvelope, alpha=1.0, tau=1.0, a=0.0, omega=0.0
    ),
    "SkewedGaussianEnvelope": every(spotgp.SkewedGaussianEnvelope, sigma_sn=1.0, n_sn=1.0),
    "TrapezoidAsymmetricEnvelope": every(
        spotgp.TrapezoidAsymmetricEnvelope, lspot=1.0, tau_em=1.0, tau_dec=1.0
    ),
    "DoubleTrapezoidEnvelope": every(
        spotgp.DoubleTrapezoidEnvelope, lspot=1.0, tau_spot=1.0, t_gap=0.0
    ),
    "DoubleTrapezoidAsymmetricEnvelope": every(
        spotgp.DoubleTrapezoidAsymmetricEnvelope,
        lspot1=1.0, tau_spot1=1.0, lspot2=1.0, tau_spot2=1.0, t_gap=0.0,
    ),
    "TripleTrapezoidAsymmetricEnvelope": every(
        spotgp.TripleTrapezoidAsymmetricEnvelope,
        lspot1=1.0, tau_spot1=1.0, lspot2=1.0, tau_spot2=1.0, lspot3=1.0, tau_spot3=1.0,
        t_gap12=0.0, t_gap23=0.0,
    ),
    "EdgeOnVisibilityFunction": every(spotgp.EdgeOnVisibilityFunction, peq=5.0, kappa=0.2),
    "LimbDarkenedVisibilityFunction": every(
        spotgp.LimbDarkenedVisibilityFunction, **STAR, u1=0.3, u2=0.1
    ),
    "FourParameterVisibilityFunction": (
        spotgp.FourParameterVisibilityFunction,
        {**STAR, "a1": 0.1, "a2": 0.1, "a3": 0.1, "a4": 0.1}, ("peq", "kappa", "inc", "a1", "a4"),
    ),
    "FiniteSpotVisibilityFunction": every(
        spotgp.FiniteSpotVisibilityFunction, **STAR, alpha=0.1, harmonics=16
    ),
    "FiniteLimbDarkenedVisibilityFunction": every(
        spotgp.FiniteLimbDarkenedVisibilityFunction, **STAR, u1=0.3, u2=0.1, alpha=0.1, harmonics=16
    ),
    "FluxBand": every(spotgp.FluxBand, contrast=0.5, limb=spotgp.UniformDisk()),
    "QuadraticLimbDarkening": every(spotgp.QuadraticLimbDarkening, u1=0.3, u2=0.1),
    "RadialVelocity": every(
        spotgp.RadialVelocity, v_eq=2000.0, contrast=1.0, convective=0.0, limb=spotgp.UniformDisk()
    ),
    "ActivityIndicator": every(spotgp.ActivityIndicator, scale=1.0, limb=spotgp.UniformDisk()),
    "EquatorialSpeed": every(spotgp.EquatorialSpeed, v_eq=2000.0),
    "ProjectedSpeed": every(spotgp.ProjectedSpeed, vsini=2000.0),
    "StellarRadius": every(spotgp.StellarRadius, radius=1.0),
    "WhiteNoise": every(spotgp.WhiteNoise, jitter=1.0),
    "Population": (
        spotgp.Population, {"envelope": model().envelope, "sigma_k": 0.01},
        ("envelope", "sigma_k", "latitude", "limb", "magnetic"),
    ),
    "SpottedStar": every(
        spotgp.SpottedStar, visibility=model().visibility,
        populations={"spots": spotgp.Population(model().envelope, 0.01)},
    ),
    "ChannelKernel": every(
        spotgp.ChannelKernel, model=model(), channels={"flux": spotgp.FluxBand()}
    ),
    "ChannelProcess": (
        spotgp.ChannelProcess,
        {"model": model(), "channels": {"flux": spotgp.FluxBand()}},
        ("model", "channels", "means", "noise"),
    ),
    "ChannelSolver": (
        spotgp.ChannelSolver,
        {"data": {"flux": (T, 1.0 + 0.01 * np.sin(T), 1e-3)}, "model": model(),
         "channels": {"flux": spotgp.FluxBand()}, "tolerance": 0.1},
        ("data", "model", "channels", "means", "jitter", "trend", "priors", "solver", "tolerance"),
    ),
    "GaussianBand": every(spotgp.GaussianBand, center=0.3, width=0.1, hemispheres="both"),
    "IsotropicInclination": every(spotgp.IsotropicInclination, low=0.0, high=1.5),
    "SinInclination": every(spotgp.SinInclination, distribution=dist.Normal(0.8, 0.1)),
    "SpotEvolutionModel of spots": (
        spotgp.SpotEvolutionModel,
        {"envelope": spotgp.ExponentialEnvelope(3.0),
         "visibility": spotgp.VisibilityFunction(**STAR),
         "nspot_rate": 1.0, "fspot": 0.5, "alpha_max": 0.1},
        ("nspot_rate", "fspot", "alpha_max", "latitude"),
    ),
    "NonstationaryAnalyticKernel": every(
        spotgp.NonstationaryAnalyticKernel,
        model=model(), amplitude=spotgp.ConstantMean(0.01), orders=(0, 1), nodes=8,
    ),
    "Process": every(
        spotgp.Process, "amplitude",
        model=model(), mean=spotgp.ConstantMean(), terms={}, jitter=0.0, orders=(0, 1),
    ),
    "one of the terms": every(
        lambda terms: spotgp.GPSolver(T, 1.0 + T, 1.0, model(), terms={"name": terms}),
        terms=spotgp.SHOTerm(0.1, 1.0),
    ),
    "Spots": every(
        spotgp.Spots, t_peak=[1.0], latitude=[0.1], longitude=[0.1], alpha_max=[0.1], weight=[1.0],
        stretch=[1.0],
    ),
    "LightcurveModel": every(spotgp.LightcurveModel, model=model(), spots=SPOTS, t=T),
    "light_curve": every(spotgp.light_curve, model=model(), spots=SPOTS, t=T),
    "PopulationEnvelope": every(
        spotgp.PopulationEnvelope, envelope=spotgp.ExponentialEnvelope(3.0), width=0.5,
        area_power=1.0, nodes=4,
    ),
    "PopulationEnvelope.gnevyshev_waldmeier": every(
        spotgp.PopulationEnvelope.gnevyshev_waldmeier, envelope=spotgp.ExponentialEnvelope(3.0),
        alpha_max=0.1, width=0.5, rate=10.0, nodes=4,
    ),
    "band_contrast": every(
        spotgp.band_contrast, "spectrum", t_spot=4000.0, t_phot=5000.0, band="V"
    ),
    "TemperatureBand": every(
        spotgp.TemperatureBand, "limb", "spectrum", t_spot=4000.0, t_phot=5000.0, band="V"
    ),
    "Passband": every(spotgp.Passband, wavelength=[400.0, 500.0], weight=[1.0, 1.0]),
    "Passband.named": every(spotgp.Passband.named, name="V"),
    "Passband.tophat": every(spotgp.Passband.tophat, low=400.0, high=500.0, nodes=24),
    "Passband.table": every(
        spotgp.Passband.table, wavelength=[400.0, 500.0], transmission=[1.0, 1.0]
    ),
    "SpectrumTable": every(
        spotgp.SpectrumTable, temperature=[4000.0, 5000.0], wavelength=[400.0, 500.0],
        flux=np.ones((2, 2)),
    ),
    "Transit": every(
        spotgp.Transit, "exposure_time", period=4.0, conjunction=0.0, radius_ratio=0.1, impact=0.2,
        scaled_axis=9.0, u1=0.4, u2=0.2, level=1.0,
    ),
    "Keplerian": every(
        spotgp.Keplerian, period=4.0, semi_amplitude=5.0, conjunction=0.0, eccentricity=0.1,
        omega=0.0,
    ),
    "Keplerian.from_periastron": (
        spotgp.Keplerian.from_periastron,
        {"period": 4.0, "semi_amplitude": 5.0, "periastron": 0.0, "eccentricity": 0.1,
         "omega": 0.0},
        ("period", "semi_amplitude", "eccentricity", "omega"),
    ),
    "SumMean": every(spotgp.SumMean, parts={"level": spotgp.ConstantMean()}),
    "minimum_mass": every(
        spotgp.minimum_mass, semi_amplitude=5.0, period=4.0, eccentricity=0.1, star_mass=1.0
    ),
    "channel_curves": every(
        spotgp.channel_curves, model=model(), spots=SPOTS, t=T, channels={"flux": spotgp.FluxBand()}
    ),
    "simulate_channels": (
        spotgp.simulate_channels,
        {"model": model(), "key": KEY, "t": T, "nspot": 3, "channels": {"flux": spotgp.FluxBand()}},
        ("model", "t", "nspot", "channels", "n_realizations"),
    ),
    "draw_spots": (
        spotgp.draw_spots, {"model": model(), "key": KEY, "t": T, "nspot": 3},
        ("model", "t", "nspot", "lat", "long"),
    ),
    "draw_spots at a rate": (
        spotgp.draw_spots,
        {"model": model(), "key": KEY, "t": T, "nspot_rate": 0.1, "fspot": 0.5, "alpha_max": 0.1,
         "max_spots": 5},
        ("nspot_rate", "fspot", "alpha_max", "max_spots"),
    ),
    "simulate": (
        spotgp.simulate,
        {"model": model(), "key": KEY, "t": T, "n_realizations": 1, "nspot": 3},
        ("model", "t", "n_realizations"),
    ),
    "first_guess": every(spotgp.first_guess, data=SERIES, model=model(), period=5.0),
    "suggest_starts": every(spotgp.suggest_starts, gp=GP, periods=[5.0], lifetimes=[5.0]),
    "search": (spotgp.search, {"gp": GP}, ("gp", "starts", "number", "steps")),
    "check": (spotgp.check, {"gp": GP}, ("gp", "fit", "draws", "points")),
    "compare": every(spotgp.compare, models={"a": GP, "b": GP}),
    "fisher_information": (spotgp.fisher_information, {"gp": GP}, ("gp",)),
    "plot_check": (spotgp.plot_check, {"found": None}, ("found",)),
    "fit_many": (
        spotgp.fit_many, {"stars": [SERIES], "model": model(), "points": 50, "progress": False},
        ("model", "points"),
    ),
    "run": (
        survey.run, {"tasks": {"a": 1.0}, "work": row, "progress": False},
        ("tasks", "work", "store", "configuration", "key", "engine", "shard", "retry"),
    ),
    "fit_many disks": (
        grater.fit_many, {"observations": {"a": row}, "progress": False},
        ("observations", "scene", "priors", "number", "steps", "store", "retry"),
    ),
    "from_lightkurve": (
        spotgp.TimeSeriesData.from_lightkurve, {"light_curve": None}, ("light_curve",),
    ),
    "LatitudeBand": (
        spotgp.LatitudeBand, {"lower": 0.1, "upper": 0.5}, ("lower", "upper", "hemispheres"),
    ),
    "CallableLatitude": every(spotgp.CallableLatitude, "breakpoints", function=np.cos),
    "param": every(pytreefit.param, unit="d", bounds="(0, 1)", label="$x$", doc="A number."),
    "Joint": every(pytreefit.Joint, parts={"a": IMAGE}),
    "Posterior": every(
        pytreefit.Posterior, "links", "residuals", "log_normalization",
        model=PHASE, log_likelihood=square, priors={"g": (-0.9, 0.9)},
    ),
    "one of the priors": every(
        lambda g: pytreefit.Posterior(PHASE, square, {"g": g}), g=(-0.9, 0.9)
    ),
    "vary": every(pytreefit.vary, model=PHASE, values={"g": [0.1, 0.2]}),
    "one of the values": every(lambda g: pytreefit.vary(PHASE, {"g": g}), g=[0.1, 0.2]),
    "grid": every(pytreefit.grid, model=PHASE, axes={"g": [0.1, 0.2]}),
    "one of the axes": every(lambda g: pytreefit.grid(PHASE, {"g": g}), g=[0.1, 0.2]),
    "set": every(lambda g: PHASE.set({"g": g}), g=0.1),
    "map_models": (
        pytreefit.map_models, {"f": square, "models": pytreefit.vary(PHASE, {"g": [0.1, 0.2]})},
        ("f", "batch_size"),
    ),
    "fit": (
        pytreefit.fit, {"posterior": POSTERIOR, "progress": False},
        ("posterior", "optimizer", "steps", "start", "starts", "tolerance"),
    ),
    "sample": (
        pytreefit.sample, {"posterior": POSTERIOR, "key": KEY, "progress": False},
        ("posterior", "key", "method", "start", "chains", "warmup", "draws", "target_acceptance",
         "precondition", "max_depth", "jumps"),
    ),
    "laplace": (
        pytreefit.laplace, {"posterior": POSTERIOR, "at": {"g": 0.0}},
        ("posterior", "at", "method", "held"),
    ),
    "save": (pytreefit.save, {"path": "", "obj": PHASE}, ("path",)),
    "load": (pytreefit.load, {"path": ""}, ("path",)),
}  # fmt: skip
ALL = [(name, argument, kind) for name in CASES for argument in CASES[name][2] for kind in BAD]
# what is right after all: names, histories, functions that are not tried, ends of arrays
RIGHT = {
    ("Channel", "curve"): {"text"},
    ("View of parts", "curve"): {"text"},
    ("FieldPSF.from_zones", "images"): {"matrix"},
    ("Observation", "unit"): {"text"},
    ("Observation", "view"): {"text"},
    ("FrameSequence", "image"): {"matrix"},
    ("FrameSequence", "unit"): {"text"},
    ("FrameSequence", "view"): {"text"},
    ("Exposure", "unit"): {"text"},
    ("Exposure", "name"): {"text"},
    ("Starlight", "references"): {"matrix"},
    ("Starlight", "width"): {"infinite"},
    ("Starlight", "constant"): {"boolean"},
    ("Starlight", "slope"): {"boolean"},
    ("TimeSeriesData", "unit"): {"text"},
    ("TimeSeriesData", "time_scale"): {"text"},
    ("TimeSeriesData", "name"): {"text"},
    ("TimeSeriesData", "history"): {"list of text"},
    ("param", "unit"): {"text"},
    ("param", "label"): {"text"},
    ("param", "doc"): {"text"},
    ("save", "path"): {"text"},
    ("load", "path"): {"text"},
    ("NonstationaryAnalyticKernel", "amplitude"): {"class"},
    ("Process", "mean"): {"class"},
    ("minimum_mass", "semi_amplitude"): {"empty", "matrix"},
    ("band_contrast", "t_spot"): {"empty", "matrix"},
    ("band_contrast", "t_phot"): {"empty", "matrix"},
    ("minimum_mass", "period"): {"empty", "matrix"},
    ("minimum_mass", "eccentricity"): {"empty"},
    ("minimum_mass", "star_mass"): {"empty", "matrix"},
    ("Process", "amplitude"): {"class"},
    ("Posterior", "log_likelihood"): {"class"},
    ("Posterior", "residuals"): {"class"},
    ("Posterior", "log_normalization"): {"class"},
    ("map_models", "f"): {"class"},
    ("fit_many", "model"): {"class"},
    ("run", "tasks"): {"dictionary", "empty"},
    ("run", "work"): {"class"},
    ("run", "store"): {"text"},
    ("run", "configuration"): {"dictionary"},
    ("run", "retry"): {"boolean"},
    ("fit_many disks", "observations"): {"dictionary"},
    ("fit_many disks", "scene"): {"class"},
    ("fit_many disks", "priors"): {"class", "dictionary"},
    ("fit_many disks", "store"): {"text"},
    ("fit_many disks", "retry"): {"boolean"},
    ("CallableLatitude", "breakpoints"): {"empty"},
    ("IsotropicInclination", "low"): {"empty", "matrix"},
    ("IsotropicInclination", "high"): {"empty", "matrix"},
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_by_name(name):
    build, good, arguments = CASES[name]
    wrong = []
    for argument in arguments:
        for kind, value in BAD.items():
            if kind in RIGHT.get((name, argument), ()):
                continue
            also = {"dictionary": "|'a'", "empty": "|" + "|".join(good)}.get(kind, "")
            named = rf"\b{argument}\b" + also
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    build(**{**good, argument: value})
            except (ValueError, TypeError) as error:
                if not re.search(named, str(error)):
                    wrong.append(f"{argument} = {kind}: {type(error).__name__}: {str(error)[:150]}")
            except Exception as error:
                wrong.append(f"{argument} = {kind}: {type(error).__name__}: {str(error)[:150]}")
            else:
                wrong.append(f"{argument} = {kind}: accepted")
    assert not wrong, "\n".join(wrong)


def test_there_are_enough():
    assert len(ALL) >= 3000
