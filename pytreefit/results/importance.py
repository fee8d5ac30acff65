"""What importance sampling says besides the draws."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..table import Table


class Importance(eqx.Module):
    r"""How well importance sampling worked, the evidence and the modes.

    Parameters
    ----------
    pareto_k
        Shape of the tail of the weights. Above ``pareto_limit``, :math:`\min(1 - 1 / \lg n, 0.7)`,
        the draws cannot be trusted (Vehtari et al. 2024, JMLR 25, 72). Below it they can where
        points were drawn: of what no point came near, such as the ends of a long thin arc, or a
        mode that no search met, weights say nothing.
    pareto_limit
        See there.
    effective
        Effective number of the weights, :math:`1 / \sum w^2`.
    evaluations
        Number of evaluations of the log density.
    log_evidence, log_evidence_error
        Logarithm of :math:`Z = \int L(\theta)\,p(\theta)\,d\theta`, and its standard deviation.
    mode_probabilities, mode_values
        Of each mode that it started from, the most probable first: the probability, and the mean
        of each parameter (of its unconstrained coordinates) by name.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import NormalLaw, Posterior, sample
    >>> law = NormalLaw(mean=0.0, width=1.0)
    >>> posterior = Posterior(law, lambda law: law.log_prob(2.0), {"mean": (-9, 9)})
    >>> samples = sample(posterior, jax.random.key(0), method="mixture", progress=False)
    >>> round(samples.importance.log_evidence, 2)  # the prior's density, ln(1 / 18)
    -2.89
    """

    pareto_k: float
    pareto_limit: float
    effective: float
    evaluations: int
    log_evidence: float
    log_evidence_error: float
    mode_probabilities: Float[np.ndarray, " mode"]
    mode_values: dict[str, np.ndarray]

    @property
    def good(self) -> bool:
        """Whether the weights say nothing against the draws."""
        return self.pareto_k <= self.pareto_limit

    def modes(self) -> Table:
        """The table of the modes: probability, and the value of each scalar parameter."""
        names = [name for name, values in self.mode_values.items() if values.ndim == 1]
        rows = [
            (f"{p:.3g}", *(f"{float(self.mode_values[name][k]):.5g}" for name in names))
            for k, p in enumerate(self.mode_probabilities)
        ]
        return Table(("probability", *(name.rpartition(".")[2] for name in names)), rows)

    def __repr__(self):
        return (
            f"{self.effective:.0f} effective of {self.evaluations:,} points, Pareto k = "
            f"{self.pareto_k:.2f} (limit {self.pareto_limit:.2f}), "
            f"log evidence {self.log_evidence:.2f} +- {self.log_evidence_error:.2f}"
        )
