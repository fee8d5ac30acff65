"""Debris disks in scattered light: the GRaTeR model, differentiable, fitted to real images."""

import pytreefit

from . import references as references
from .data.brightness import convert_brightness
from .data.correlated import CorrelatedNoise
from .data.correlation import (
    AbstractCorrelation,
    GaussianCorrelation,
    MaternCorrelation,
    TableCorrelation,
    pixel_correlation,
    residual_correlation,
)
from .data.likelihood import JointObservation
from .data.noise import (
    AbstractGaussianNoise,
    AbstractNoise,
    AnnularNoise,
    GaussianNoise,
    PoissonNoise,
    StudentTNoise,
    noise_map,
)
from .data.observation import Observation
from .data.starlight import Starlight, StarlightFit
from .derived import (
    derived,
    derived_draws,
    derived_table,
    near_side,
    peak_radius,
    ring_center,
    scattering_angle_map,
    scattering_angles,
    surface_density,
)
from .dust.azimuthal import (
    AbstractAzimuthalProfile,
    Arc,
    Axisymmetric,
    Clump,
)
from .dust.bands import Band, Bands, Colors, colors
from .dust.density import (
    AbstractRadialProfile,
    AbstractVerticalProfile,
    GaussianRing,
    TwoPowerLaw,
    VerticalExponential,
    VerticalLorentzian,
)
from .dust.disk import Disk
from .dust.edges import InnerEdge, OuterEdge
from .dust.phase import (
    AbstractPhaseFunction,
    HenyeyGreenstein,
    Isotropic,
    MixedHenyeyGreenstein,
    TwoHenyeyGreenstein,
)
from .dust.phase_curves import (
    LegendrePhase,
    SplinePhase,
    TabulatedPhase,
)
from .dust.polarization import (
    AbstractPolarization,
    Polarized,
    RayleighPolarization,
    SplinePolarization,
    TabulatedPolarization,
)
from .dust.radial_spline import SplineProfile
from .explore.state import DiskExplorer
from .frames.injection import (
    Injections,
    inject,
    inject_and_fit,
)
from .frames.klip import KLIP, Components
from .frames.perturbed import KLIPBasis, ReducedFrames
from .frames.relearn import FramesFit, fit_frames
from .frames.sequence import FrameSequence
from .integrate import Rule
from .io.convert import from_grater_jax, from_vip
from .io.exposure import Exposure
from .plot.exposures import (
    Combined,
    combine,
    plot_exposures,
)
from .plot.images import (
    plot_fit,
    plot_image,
    plot_phase_function,
)
from .plot.noise import plot_correlation
from .point_source import PointSource
from .scene import Scene
from .starts.search import DiskSearch, search
from .starts.templates import Ring
from .survey import fit_many
from .view.field_psf import FieldPSF
from .view.optics import Channel
from .view.psf import (
    AbstractPSF,
    EllipticalGaussianPSF,
    GaussianPSF,
    ImagePSF,
    MoffatPSF,
)
from .view.psf_files import (
    read_grater_jax_optics,
    read_psf,
    read_psf_grid,
)
from .view.view import Grid, View, radial_map

__version__ = pytreefit.__version__
__all__ = [
    "KLIP",
    "AbstractAzimuthalProfile",
    "AbstractCorrelation",
    "AbstractGaussianNoise",
    "AbstractNoise",
    "AbstractPSF",
    "AbstractPhaseFunction",
    "AbstractPolarization",
    "AbstractRadialProfile",
    "AbstractVerticalProfile",
    "AnnularNoise",
    "Arc",
    "Axisymmetric",
    "Band",
    "Bands",
    "Channel",
    "Clump",
    "Colors",
    "Combined",
    "Components",
    "CorrelatedNoise",
    "Disk",
    "DiskExplorer",
    "DiskSearch",
    "EllipticalGaussianPSF",
    "Exposure",
    "FieldPSF",
    "FrameSequence",
    "FramesFit",
    "GaussianCorrelation",
    "GaussianNoise",
    "GaussianPSF",
    "GaussianRing",
    "Grid",
    "HenyeyGreenstein",
    "ImagePSF",
    "Injections",
    "InnerEdge",
    "Isotropic",
    "JointObservation",
    "KLIPBasis",
    "LegendrePhase",
    "MaternCorrelation",
    "MixedHenyeyGreenstein",
    "MoffatPSF",
    "Observation",
    "OuterEdge",
    "PointSource",
    "PoissonNoise",
    "Polarized",
    "RayleighPolarization",
    "ReducedFrames",
    "Ring",
    "Rule",
    "Scene",
    "SplinePhase",
    "SplinePolarization",
    "SplineProfile",
    "Starlight",
    "StarlightFit",
    "StudentTNoise",
    "TableCorrelation",
    "TabulatedPhase",
    "TabulatedPolarization",
    "TwoHenyeyGreenstein",
    "TwoPowerLaw",
    "VerticalExponential",
    "VerticalLorentzian",
    "View",
    "colors",
    "combine",
    "convert_brightness",
    "derived",
    "derived_draws",
    "derived_table",
    "fit_frames",
    "fit_many",
    "from_grater_jax",
    "from_vip",
    "inject",
    "inject_and_fit",
    "near_side",
    "noise_map",
    "peak_radius",
    "pixel_correlation",
    "plot_correlation",
    "plot_exposures",
    "plot_fit",
    "plot_image",
    "plot_phase_function",
    "radial_map",
    "read_grater_jax_optics",
    "read_psf",
    "read_psf_grid",
    "residual_correlation",
    "ring_center",
    "scattering_angle_map",
    "scattering_angles",
    "search",
    "surface_density",
]
