"""Debris disks in scattered light: the GRaTeR model, differentiable, fitted to real images."""

import pytreefit

from . import references as references
from .data.brightness import convert_brightness as convert_brightness
from .data.correlated import CorrelatedNoise as CorrelatedNoise
from .data.correlation import (
    AbstractCorrelation as AbstractCorrelation,
    GaussianCorrelation as GaussianCorrelation,
    MaternCorrelation as MaternCorrelation,
    TableCorrelation as TableCorrelation,
    pixel_correlation as pixel_correlation,
    residual_correlation as residual_correlation,
)
from .data.likelihood import JointObservation as JointObservation
from .data.noise import (
    AbstractGaussianNoise as AbstractGaussianNoise,
    AbstractNoise as AbstractNoise,
    AnnularNoise as AnnularNoise,
    GaussianNoise as GaussianNoise,
    PoissonNoise as PoissonNoise,
    StudentTNoise as StudentTNoise,
    noise_map as noise_map,
)
from .data.observation import Observation as Observation
from .data.starlight import Starlight as Starlight, StarlightFit as StarlightFit
from .derived import (
    derived as derived,
    derived_draws as derived_draws,
    derived_table as derived_table,
    near_side as near_side,
    peak_radius as peak_radius,
    ring_center as ring_center,
    scattering_angle_map as scattering_angle_map,
    scattering_angles as scattering_angles,
    surface_density as surface_density,
)
from .dust.azimuthal import (
    AbstractAzimuthalProfile as AbstractAzimuthalProfile,
    Arc as Arc,
    Axisymmetric as Axisymmetric,
    Clump as Clump,
)
from .dust.bands import Band as Band, Bands as Bands, Colors as Colors, colors as colors
from .dust.density import (
    AbstractRadialProfile as AbstractRadialProfile,
    AbstractVerticalProfile as AbstractVerticalProfile,
    GaussianRing as GaussianRing,
    TwoPowerLaw as TwoPowerLaw,
    VerticalExponential as VerticalExponential,
    VerticalLorentzian as VerticalLorentzian,
)
from .dust.disk import Disk as Disk
from .dust.edges import InnerEdge as InnerEdge, OuterEdge as OuterEdge
from .dust.phase import (
    AbstractPhaseFunction as AbstractPhaseFunction,
    HenyeyGreenstein as HenyeyGreenstein,
    Isotropic as Isotropic,
    MixedHenyeyGreenstein as MixedHenyeyGreenstein,
    TwoHenyeyGreenstein as TwoHenyeyGreenstein,
)
from .dust.phase_curves import (
    LegendrePhase as LegendrePhase,
    SplinePhase as SplinePhase,
    TabulatedPhase as TabulatedPhase,
)
from .dust.polarization import (
    AbstractPolarization as AbstractPolarization,
    Polarized as Polarized,
    RayleighPolarization as RayleighPolarization,
    SplinePolarization as SplinePolarization,
    TabulatedPolarization as TabulatedPolarization,
)
from .dust.radial_spline import SplineProfile as SplineProfile
from .explore.state import DiskExplorer as DiskExplorer
from .frames.injection import (
    Injections as Injections,
    inject as inject,
    inject_and_fit as inject_and_fit,
)
from .frames.klip import KLIP as KLIP, Components as Components
from .frames.perturbed import KLIPBasis as KLIPBasis, ReducedFrames as ReducedFrames
from .frames.relearn import FramesFit as FramesFit, fit_frames as fit_frames
from .frames.sequence import FrameSequence as FrameSequence
from .integrate import Rule as Rule
from .io.convert import from_grater_jax as from_grater_jax, from_vip as from_vip
from .io.exposure import Exposure as Exposure
from .plot.exposures import (
    Combined as Combined,
    combine as combine,
    plot_exposures as plot_exposures,
)
from .plot.images import (
    plot_fit as plot_fit,
    plot_image as plot_image,
    plot_phase_function as plot_phase_function,
)
from .plot.noise import plot_correlation as plot_correlation
from .point_source import PointSource as PointSource
from .scene import Scene as Scene
from .starts.search import DiskSearch as DiskSearch, search as search
from .starts.templates import Ring as Ring
from .survey import fit_many as fit_many
from .view.field_psf import FieldPSF as FieldPSF
from .view.optics import Channel as Channel
from .view.psf import (
    AbstractPSF as AbstractPSF,
    EllipticalGaussianPSF as EllipticalGaussianPSF,
    GaussianPSF as GaussianPSF,
    ImagePSF as ImagePSF,
    MoffatPSF as MoffatPSF,
)
from .view.psf_files import (
    read_grater_jax_optics as read_grater_jax_optics,
    read_psf_grid as read_psf_grid,
)
from .view.view import Grid as Grid, View as View, radial_map as radial_map

__version__ = pytreefit.__version__
__all__ = [n for n, v in globals().items() if getattr(v, "__module__", "").startswith("grater.")]
