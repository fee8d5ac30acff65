"""The papers behind disks, optics and noise, see `pytreefit.cite`."""

from pytreefit.extend import Paper, sources

from .data.correlated import CorrelatedNoise
from .data.starlight import Starlight
from .dust.disk import Disk
from .dust.edges import InnerEdge, OuterEdge
from .dust.phase import HenyeyGreenstein, MixedHenyeyGreenstein, TwoHenyeyGreenstein
from .frames.klip import KLIP, Components
from .frames.perturbed import ReducedFrames
from .view.field_psf import FieldPSF
from .view.optics import Channel
from .view.psf import MoffatPSF

_MODEL = Paper(
    "Augereau1999",
    "Augereau, J. C. and Lagrange, A. M. and Mouillet, D. and Papaloizou, J. C. B. and "
    "Grorod, P. A.",
    "On the HR 4796 A circumstellar disk",
    "A&A",
    1999,
    "348",
    "557",
)
_HG = Paper(
    "Henyey1941",
    "Henyey, L. G. and Greenstein, J. L.",
    "Diffuse radiation in the Galaxy",
    "ApJ",
    1941,
    "93",
    "70",
)
_EDGES = Paper(
    "Marino2021",
    "Marino, S.",
    "Constraining planetesimal stirring: how sharp are debris disc edges?",
    "MNRAS",
    2021,
    "503",
    "5100",
)
_FIELD = Paper(
    "Lauer2002",
    "Lauer, T. R.",
    "Deconvolution with a spatially-variant PSF",
    "Proc. SPIE",
    2002,
    "4847",
    "167",
)
_MOFFAT = Paper(
    "Moffat1969",
    "Moffat, A. F. J.",
    "A theoretical investigation of focal stellar images in the photographic emulsion and "
    "application to photographic photometry",
    "A&A",
    1969,
    "3",
    "455",
)
_STOKES = Paper(
    "Schmid2006",
    "Schmid, H. M. and Joos, F. and Tschan, D.",
    "Limb polarization of Uranus and Neptune. I. Imaging polarimetry and comparison with analytic "
    "models",
    "A&A",
    2006,
    "452",
    "657",
)
_REFERENCES = Paper(
    "Lafreniere2007",
    "Lafreni\\`ere, D. and Marois, C. and Doyon, R. and Nadeau, D. and Artigau, \\'E.",
    "A New Algorithm for Point-Spread Function Subtraction in High-Contrast Imaging: A "
    "Demonstration with Angular Differential Imaging",
    "ApJ",
    2007,
    "660",
    "770",
)
_COMPONENTS = (
    Paper(
        "Soummer2012",
        "Soummer, R. and Pueyo, L. and Larkin, J.",
        "Detection and Characterization of Exoplanets and Disks Using Projections on "
        "Karhunen-Lo\\`eve Eigenimages",
        "ApJ",
        2012,
        "755",
        "L28",
    ),
    Paper(
        "Amara2012",
        "Amara, A. and Quanz, S. P.",
        "PYNPOINT: an image processing package for finding exoplanets",
        "MNRAS",
        2012,
        "427",
        "948",
    ),
)
_PERTURBED = Paper(
    "Pueyo2016",
    "Pueyo, L.",
    "Detection and Characterization of Exoplanets using Projections on Karhunen Loeve Eigenimages: "
    "Forward Modeling",
    "ApJ",
    2016,
    "824",
    "117",
)
_SPARSE = (
    Paper(
        "Vecchia1988",
        "Vecchia, A. V.",
        "Estimation and model identification for continuous spatial processes",
        "J. R. Stat. Soc. B",
        1988,
        "50",
        "297",
    ),
    Paper(
        "Katzfuss2021",
        "Katzfuss, M. and Guinness, J.",
        "A general framework for Vecchia approximations of Gaussian processes",
        "Stat. Sci.",
        2021,
        "36",
        "124",
    ),
)

sources(
    {
        Disk: (_MODEL,),
        HenyeyGreenstein: (_HG,),
        TwoHenyeyGreenstein: (_HG,),
        MixedHenyeyGreenstein: (_HG,),
        InnerEdge: (_EDGES,),
        OuterEdge: (_EDGES,),
        FieldPSF: (_FIELD,),
        MoffatPSF: (_MOFFAT,),
        Channel: lambda channel: (_STOKES,) if channel.stokes else (),
        Starlight: (_REFERENCES,),
        KLIP: _COMPONENTS,
        Components: _COMPONENTS,
        ReducedFrames: (_PERTURBED,),
        CorrelatedNoise: _SPARSE,
    }
)
