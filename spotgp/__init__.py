"""Light curves of rotating, spotted stars and the Gaussian process that follows from them."""

import pytreefit

from . import references as references
from .checks.check import Check, check
from .checks.compare import Comparison, Score, compare
from .checks.fisher import FisherInformation, fisher_information
from .checks.plot import plot_check
from .component import AbstractComponent, DataScales
from .explore.state import StarExplorer
from .gp.channel_data import ChannelData
from .gp.channel_process import ChannelProcess
from .gp.channel_solver import ChannelSolver
from .gp.data import LightCurve
from .gp.leave_one_out import LeaveOneOut
from .gp.mean import AbstractMean, ConstantMean, LinearMean, SumMean
from .gp.noise import WhiteNoise
from .gp.orbit import Keplerian, minimum_mass
from .gp.prediction import Prediction
from .gp.process import Process
from .gp.solver import GPSolver
from .gp.transit import Transit
from .io.observations import TimeSeriesData
from .kernel.analytic import AnalyticKernel, NonstationaryAnalyticKernel
from .kernel.channels import ChannelKernel
from .kernel.numerical import NumericalKernel
from .kernel.terms import AbstractTerm, Matern32Term, SHOTerm
from .periods import (
    Autocorrelation,
    Periodogram,
    PhotometricActivity,
    RotationPeriod,
    autocorrelation,
    lomb_scargle,
    photometric_activity,
    rotation_period,
    variability_range,
)
from .plot import plot_kernel, plot_light_curve, plot_periods, plot_psd
from .plot_channels import plot_channels, plot_folded
from .plot_spots import animate, plot_butterfly, plot_spot_map
from .simulation.channels import channel_curves, simulate_channels
from .simulation.simulate import LightcurveModel, light_curve, simulate
from .simulation.spots import Spots, draw_spots
from .star.abstract import AbstractStar
from .star.channels import (
    AbstractChannel,
    AbstractLimbDarkening,
    AbstractRotationSpeed,
    ActivityIndicator,
    EquatorialSpeed,
    FluxBand,
    ProjectedSpeed,
    QuadraticLimbDarkening,
    RadialVelocity,
    StellarRadius,
    UniformDisk,
)
from .star.envelope import AbstractEnvelope, AbstractPlateauEnvelope
from .star.exponential import (
    ExponentialAsymmetricEnvelope,
    ExponentialEnvelope,
    ExponentialPlateauEnvelope,
)
from .star.finite_spots import FiniteLimbDarkenedVisibilityFunction, FiniteSpotVisibilityFunction
from .star.geometry import projected_cap_area
from .star.inclination import InclinationLaw, IsotropicInclination, SinInclination
from .star.latitude import (
    AbstractLatitudeDistribution,
    CallableLatitude,
    GaussianBand,
    LatitudeBand,
    UniformLatitude,
    UniformOnSphere,
)
from .star.limb_darkening import (
    AbstractProfileVisibility,
    FourParameterVisibilityFunction,
    LimbDarkenedVisibilityFunction,
)
from .star.model import SpotEvolutionModel
from .star.population import PopulationEnvelope
from .star.several import Population, SpottedStar
from .star.smooth_envelopes import (
    LogisticPlateauEnvelope,
    ModulatedGammaEnvelope,
    SkewedGaussianEnvelope,
)
from .star.temperature import Passband, SpectrumTable, band_contrast, blackbody
from .star.temperature_band import TemperatureBand
from .star.trapezoid import (
    DoubleTrapezoidAsymmetricEnvelope,
    DoubleTrapezoidEnvelope,
    TrapezoidAsymmetricEnvelope,
    TrapezoidSymmetricEnvelope,
    TripleTrapezoidAsymmetricEnvelope,
)
from .star.visibility import AbstractVisibility, EdgeOnVisibilityFunction, VisibilityFunction
from .starts.search import Search, search
from .starts.suggest import first_guess, suggest_starts
from .survey import ManyFits, StarFit, fit_many

__version__ = pytreefit.__version__

__all__ = [
    "AbstractChannel",
    "AbstractComponent",
    "AbstractEnvelope",
    "AbstractLatitudeDistribution",
    "AbstractLimbDarkening",
    "AbstractMean",
    "AbstractPlateauEnvelope",
    "AbstractProfileVisibility",
    "AbstractRotationSpeed",
    "AbstractStar",
    "AbstractTerm",
    "AbstractVisibility",
    "ActivityIndicator",
    "AnalyticKernel",
    "Autocorrelation",
    "CallableLatitude",
    "ChannelData",
    "ChannelKernel",
    "ChannelProcess",
    "ChannelSolver",
    "Check",
    "Comparison",
    "ConstantMean",
    "DataScales",
    "DoubleTrapezoidAsymmetricEnvelope",
    "DoubleTrapezoidEnvelope",
    "EdgeOnVisibilityFunction",
    "EquatorialSpeed",
    "ExponentialAsymmetricEnvelope",
    "ExponentialEnvelope",
    "ExponentialPlateauEnvelope",
    "FiniteLimbDarkenedVisibilityFunction",
    "FiniteSpotVisibilityFunction",
    "FisherInformation",
    "FluxBand",
    "FourParameterVisibilityFunction",
    "GPSolver",
    "GaussianBand",
    "InclinationLaw",
    "IsotropicInclination",
    "Keplerian",
    "LatitudeBand",
    "LeaveOneOut",
    "LightCurve",
    "LightcurveModel",
    "LimbDarkenedVisibilityFunction",
    "LinearMean",
    "LogisticPlateauEnvelope",
    "ManyFits",
    "Matern32Term",
    "ModulatedGammaEnvelope",
    "NonstationaryAnalyticKernel",
    "NumericalKernel",
    "Passband",
    "Periodogram",
    "PhotometricActivity",
    "Population",
    "PopulationEnvelope",
    "Prediction",
    "Process",
    "ProjectedSpeed",
    "QuadraticLimbDarkening",
    "RadialVelocity",
    "RotationPeriod",
    "SHOTerm",
    "Score",
    "Search",
    "SinInclination",
    "SkewedGaussianEnvelope",
    "SpectrumTable",
    "SpotEvolutionModel",
    "Spots",
    "SpottedStar",
    "StarExplorer",
    "StarFit",
    "StellarRadius",
    "SumMean",
    "TemperatureBand",
    "TimeSeriesData",
    "Transit",
    "TrapezoidAsymmetricEnvelope",
    "TrapezoidSymmetricEnvelope",
    "TripleTrapezoidAsymmetricEnvelope",
    "UniformDisk",
    "UniformLatitude",
    "UniformOnSphere",
    "VisibilityFunction",
    "WhiteNoise",
    "animate",
    "autocorrelation",
    "band_contrast",
    "blackbody",
    "channel_curves",
    "check",
    "compare",
    "draw_spots",
    "first_guess",
    "fisher_information",
    "fit_many",
    "light_curve",
    "lomb_scargle",
    "minimum_mass",
    "photometric_activity",
    "plot_butterfly",
    "plot_channels",
    "plot_check",
    "plot_folded",
    "plot_kernel",
    "plot_light_curve",
    "plot_periods",
    "plot_psd",
    "plot_spot_map",
    "projected_cap_area",
    "rotation_period",
    "search",
    "simulate",
    "simulate_channels",
    "suggest_starts",
    "variability_range",
]
