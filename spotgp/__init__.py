"""Light curves of rotating, spotted stars and the Gaussian process that follows from them."""

from .envelope import AbstractEnvelope
from .exponential import (
    ExponentialAsymmetricEnvelope,
    ExponentialEnvelope,
    ExponentialPlateauEnvelope,
)
from .finite_spots import FiniteLimbDarkenedVisibilityFunction, FiniteSpotVisibilityFunction
from .geometry import projected_cap_area
from .gp import GPSolver
from .inclination import IsotropicInclination, SinInclination
from .kernel import AnalyticKernel, NonstationaryAnalyticKernel, latitude_nodes
from .latitude import (
    AbstractLatitudeDistribution,
    CallableLatitude,
    GaussianBand,
    LatitudeBand,
    UniformLatitude,
    UniformOnSphere,
)
from .leave_one_out import LeaveOneOut
from .limb_darkening import (
    AbstractProfileVisibility,
    FourParameterVisibilityFunction,
    LimbDarkenedVisibilityFunction,
)
from .many import ManyFits, StarFit, fit_many
from .mean import AbstractMean, ConstantMean, LinearMean
from .model import SpotEvolutionModel
from .numerical_kernel import NumericalKernel
from .observations import TimeSeriesData
from .periods import Autocorrelation, Periodogram, autocorrelation, lomb_scargle
from .plot import plot_kernel, plot_light_curve, plot_periods, plot_psd
from .plot_spots import animate, plot_butterfly, plot_spot_map
from .prediction import Prediction
from .process import LightCurve, light_curve_log_likelihood
from .simulate import LightcurveModel, light_curve, simulate
from .smooth_envelopes import (
    LogisticPlateauEnvelope,
    ModulatedGammaEnvelope,
    SkewedGaussianEnvelope,
)
from .spots import Spots, draw_spots
from .starts import Search, first_guess, search, suggest_starts
from .terms import AbstractTerm, Matern32Term, SHOTerm
from .trapezoid import (
    DoubleTrapezoidAsymmetricEnvelope,
    DoubleTrapezoidEnvelope,
    TrapezoidAsymmetricEnvelope,
    TrapezoidSymmetricEnvelope,
    TripleTrapezoidAsymmetricEnvelope,
)
from .visibility import AbstractVisibility, EdgeOnVisibilityFunction, VisibilityFunction

__version__ = "0.1.0"

__all__ = [
    "AbstractEnvelope",
    "AbstractLatitudeDistribution",
    "AbstractMean",
    "AbstractProfileVisibility",
    "AbstractTerm",
    "AbstractVisibility",
    "AnalyticKernel",
    "Autocorrelation",
    "CallableLatitude",
    "ConstantMean",
    "DoubleTrapezoidAsymmetricEnvelope",
    "DoubleTrapezoidEnvelope",
    "EdgeOnVisibilityFunction",
    "ExponentialAsymmetricEnvelope",
    "ExponentialEnvelope",
    "ExponentialPlateauEnvelope",
    "FiniteLimbDarkenedVisibilityFunction",
    "FiniteSpotVisibilityFunction",
    "FourParameterVisibilityFunction",
    "GPSolver",
    "GaussianBand",
    "IsotropicInclination",
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
    "Periodogram",
    "Prediction",
    "SHOTerm",
    "Search",
    "SinInclination",
    "SkewedGaussianEnvelope",
    "SpotEvolutionModel",
    "Spots",
    "StarFit",
    "TimeSeriesData",
    "TrapezoidAsymmetricEnvelope",
    "TrapezoidSymmetricEnvelope",
    "TripleTrapezoidAsymmetricEnvelope",
    "UniformLatitude",
    "UniformOnSphere",
    "VisibilityFunction",
    "animate",
    "autocorrelation",
    "draw_spots",
    "first_guess",
    "fit_many",
    "latitude_nodes",
    "light_curve",
    "light_curve_log_likelihood",
    "lomb_scargle",
    "plot_butterfly",
    "plot_kernel",
    "plot_light_curve",
    "plot_periods",
    "plot_psd",
    "plot_spot_map",
    "projected_cap_area",
    "search",
    "simulate",
    "suggest_starts",
]
