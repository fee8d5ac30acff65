"""What to cite: papers behind the components of a model, each named in one table of its package."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from .results import Corrected, Samples
from .table import Table


class Paper(NamedTuple):
    """A paper, or the library itself.

    Parameters
    ----------
    key
        Of the BibTeX entry.
    authors
        As in BibTeX, joined by " and ".
    title, where, year
        ``where`` is the journal, or what stands for it.
    volume, pages, doi
        Empty where there is none; ``pages`` is the first page or the number of the article.
    kind
        Of the BibTeX entry.
    """

    key: str
    authors: str
    title: str
    where: str
    year: int
    volume: str = ""
    pages: str = ""
    doi: str = ""
    kind: str = "article"

    @property
    def text(self) -> str:
        """Such as "Augereau et al. 1999, A&A 348, 557"."""
        names = [name.partition(",")[0].strip("{}") for name in self.authors.split(" and ")]
        who = " & ".join(names) if len(names) < 3 else f"{names[0]} et al."
        place = ", ".join(filter(None, (f"{self.where} {self.volume}".strip(), self.pages)))
        return f"{who} {self.year}, {place}"

    @property
    def bibtex(self) -> str:
        """The BibTeX entry."""
        journal = "journal" if self.kind == "article" else "howpublished"
        fields = {
            "author": self.authors,
            "title": f"{{{self.title}}}",
            journal: self.where.replace("&", r"\&"),
            "year": str(self.year),
            "volume": self.volume,
            "pages": self.pages,
            "doi": self.doi,
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


_LIBRARY = Paper(
    "grater_spotgp",
    "{The grater-spotgp developers}",
    "grater-spotgp: differentiable models of debris disks in scattered light and of spotted stars",
    "version 0.1.0",
    2026,
    kind="misc",
)
Papers = tuple[Paper, ...]
_SOURCES: dict[type, Papers | Callable[[Any], Papers]] = {}


def sources(table: Mapping[type, Papers | Callable[[Any], Papers]]) -> None:
    """Say which papers are behind classes, and all that derive from them.

    Parameters
    ----------
    table
        For each class its `Paper` entries, a tuple, or a function of an object that returns them.
    """
    _SOURCES.update(table)


class Citations(dict):
    """What `cite` returns: for each `Paper` the names of what it is behind.

    Examples
    --------
    >>> from pytreefit import cite
    >>> cite().bibtex.splitlines()[0]
    '@misc{grater_spotgp,'
    """

    @property
    def bibtex(self) -> str:
        """All entries, for a ``.bib`` file."""
        return "\n\n".join(paper.bibtex for paper in self)

    def __repr__(self):
        rows = [(paper.key, paper.text, ", ".join(names)) for paper, names in self.items()]
        return repr(Table(("key", "paper", "for"), rows))


def cite(*objects: Any) -> Citations:
    """List what to cite for models, data and results: this library, and papers behind their parts.

    Each component has its papers in one table of its package (``references.py``). What you made
    yourself you know best; `pytreefit.extend.sources` takes its papers, too.

    Parameters
    ----------
    *objects
        Models, posteriors, observations, results; without any the library alone.

    Returns
    -------
    Citations
        A table when printed; ``.bibtex`` is the text of a bibliography.

    Examples
    --------
    >>> from pytreefit import cite
    >>> list(cite())[0].key
    'grater_spotgp'
    """
    found = Citations({_LIBRARY: ["all"]})
    seen: set[int] = set()
    for part in (part for each in objects for part in _parts(each, seen)):
        for kind in type(part).__mro__:
            papers = _SOURCES.get(kind, ())
            for paper in papers(part) if callable(papers) else papers:
                names = found.setdefault(paper, [])
                if type(part).__name__ not in names:
                    names.append(type(part).__name__)
    return found


def _parts(node: Any, seen: set[int]) -> Iterator[Any]:
    """An object and all inside of it that is a dataclass, once each."""
    if isinstance(node, dict):
        inside = node.values()
    elif isinstance(node, list | tuple):
        inside = node
    elif dataclasses.is_dataclass(node) and not isinstance(node, type) and id(node) not in seen:
        seen.add(id(node))
        yield node
        inside = (getattr(node, field.name, None) for field in dataclasses.fields(node))
    else:
        # a method brings the object that owns it, such as the likelihood of a posterior
        owner = getattr(node, "__self__", None)
        inside = () if owner is None or isinstance(owner, type) else (owner,)
    for child in inside:
        yield from _parts(child, seen)


_NUTS = (
    Paper(
        "Hoffman2014",
        "Hoffman, M. D. and Gelman, A.",
        "The No-U-Turn Sampler: adaptively setting path lengths in Hamiltonian Monte Carlo",
        "J. Mach. Learn. Res.",
        2014,
        "15",
        "1593",
    ),
    Paper(
        "Cabezas2024",
        "Cabezas, A. and Corenflos, A. and Lao, J. and Louf, R. and others",
        "BlackJAX: Composable Bayesian inference in JAX",
        "arXiv:2402.10797",
        2024,
    ),
)
_PARETO = Paper(
    "Vehtari2024",
    "Vehtari, A. and Simpson, D. and Gelman, A. and Yao, Y. and Gabry, J.",
    "Pareto Smoothed Importance Sampling",
    "J. Mach. Learn. Res.",
    2024,
    "25",
    "72",
)
_MIXTURE = (
    Paper(
        "Cornuet2012",
        "Cornuet, J.-M. and Marin, J.-M. and Mira, A. and Robert, C. P.",
        "Adaptive Multiple Importance Sampling",
        "Scand. J. Stat.",
        2012,
        "39",
        "798",
    ),
    _PARETO,
)

sources(
    {
        Samples: lambda samples: _NUTS if samples.importance is None else _MIXTURE,
        Corrected: (_PARETO,),
    }
)
