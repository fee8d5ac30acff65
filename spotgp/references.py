"""The papers behind spots, channels and solvers, see `pytreefit.cite`."""

from pytreefit.extend import Paper, sources

from .gp.abstract import AbstractGP
from .kernel.terms import SHOTerm
from .solvers.bins.solver import Bins
from .solvers.quasiseparable.solver import Quasiseparable
from .star.channels import RadialVelocity
from .star.limb_darkening import FourParameterVisibilityFunction
from .star.population import PopulationEnvelope
from .star.smooth_envelopes import SkewedGaussianEnvelope

_CELERITE = Paper(
    "ForemanMackey2017",
    "Foreman-Mackey, D. and Agol, E. and Ambikasaran, S. and Angus, R.",
    "Fast and Scalable Gaussian Process Modeling with Applications to Astronomical Time Series",
    "AJ",
    2017,
    "154",
    "220",
)
_KALMAN = Paper(
    "Hartikainen2010",
    'Hartikainen, J. and S\\"arkk\\"a, S.',
    "Kalman filtering and smoothing solutions to temporal Gaussian process regression models",
    "IEEE Int. Workshop on Machine Learning for Signal Processing",
    2010,
    doi="10.1109/MLSP.2010.5589113",
    kind="misc",
)
_PROCESSES = Paper(
    "Rasmussen2006",
    "Rasmussen, C. E. and Williams, C. K. I.",
    "Gaussian Processes for Machine Learning",
    "MIT Press",
    2006,
    kind="misc",
)
_VECCHIA = Paper(
    "Vecchia1988",
    "Vecchia, A. V.",
    "Estimation and model identification for continuous spatial processes",
    "J. R. Stat. Soc. B",
    1988,
    "50",
    "297",
)
_VELOCITY = Paper(
    "Aigrain2012",
    "Aigrain, S. and Pont, F. and Zucker, S.",
    "A simple method to estimate radial velocity variations due to stellar activity using "
    "photometry",
    "MNRAS",
    2012,
    "419",
    "3147",
)
_LIMB = Paper(
    "Claret2000",
    "Claret, A.",
    "A new non-linear limb-darkening law for LTE stellar atmosphere models",
    "A&A",
    2000,
    "363",
    "1081",
)
_DECAY = Paper(
    "Petrovay1997",
    "Petrovay, K. and van Driel-Gesztelyi, L.",
    "Making sense of sunspot decay. I. Parabolic decay law and Gnevyshev-Waldmeier relation",
    "Solar Physics",
    1997,
    "176",
    "249",
)
_SKEWED = Paper(
    "ForgacsDajka2021",
    "Forg\\'acs-Dajka, E. and Dobos, L. and Ballai, I.",
    "Time-dependent properties of sunspot groups. I. Lifetime and asymmetric evolution",
    "A&A",
    2021,
    "653",
    "A50",
)

sources(
    {
        AbstractGP: (_PROCESSES,),
        Quasiseparable: (_KALMAN, _CELERITE),
        SHOTerm: (_CELERITE,),
        Bins: (_VECCHIA,),
        RadialVelocity: (_VELOCITY,),
        FourParameterVisibilityFunction: (_LIMB,),
        PopulationEnvelope: (_DECAY,),
        SkewedGaussianEnvelope: (_SKEWED,),
    }
)
