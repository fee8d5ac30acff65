"""What options of commands may be: kinds that turn text into values, and priors as text."""

import contextlib
import difflib
import math
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpyro.distributions as dist

from .model import Parameter
from .prior import as_prior, prior_limits

_FAR = 5.0  # standard deviations of a normal prior, beyond which there is nothing of it
PRIORS = "LOW:HIGH, log:LOW:HIGH, normal:MEAN:SD, fixed:VALUE or fixed"


def number(lowest: float = -math.inf, highest: float = math.inf) -> Callable[[str], float]:
    """A kind of option: a number between two, which are excluded."""

    def kind(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is no number") from None
        if not lowest < value < highest:
            raise ValueError(f"{text} must be {_between(lowest, highest)}")
        return value

    return kind


def _between(lowest, highest) -> str:
    if math.isinf(lowest) and math.isinf(highest):
        return "finite"
    if math.isinf(highest):
        return f"above {lowest:g}"
    return f"below {highest:g}" if math.isinf(lowest) else f"between {lowest:g} and {highest:g}"


def whole_number(
    lowest: int, highest: float = math.inf, even: bool = False
) -> Callable[[str], int]:
    """A kind of option: a whole number from one to another, and even where asked for."""

    def kind(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is no whole number") from None
        if value < lowest or (even and value % 2):
            what = "an even number of at least" if even else "at least"
            raise ValueError(f"{text} must be {what} {lowest}")
        if value > highest:
            raise ValueError(f"{text} must be at most {highest}")
        return value

    return kind


class _OneOf(NamedTuple):
    """Turns text into itself where it is one of several words."""

    choices: tuple[str, ...]

    def __call__(self, text: str) -> str:
        if text not in self.choices:
            known = ", ".join(self.choices)
            raise ValueError(f"{text!r} is none of {known}{did_you_mean(text, self.choices)}")
        return text


def one_of(*names: str) -> Callable[[str], str]:
    """A kind of option: one of several words."""
    return _OneOf(names)


def existing_file(text: str) -> Path:
    """A kind of option: a file that is there."""
    if not Path(text).is_file():
        raise ValueError(f"{text!r} is no file")
    return Path(text)


_TABLES = (".ecsv", ".csv", ".fits", ".html", ".tex")


def table_file(text: str) -> Path:
    """A kind of option: a file for a table, in a folder that is there."""
    path = Path(text)
    if path.suffix not in _TABLES:
        raise ValueError(f"{text!r} must end in one of {', '.join(_TABLES)}")
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {str(path.parent)!r}")
    return path


@contextlib.contextmanager
def reading(path: Path):
    """Where a file is read: errors that do not name it become a ValueError that does."""
    try:
        yield
    except Exception as error:  # damaged files raise whatever their readers meet
        if isinstance(error, OSError | ValueError | TypeError) and path.name in str(error):
            raise
        raise ValueError(f"{path} cannot be read: {error}") from error


@contextlib.contextmanager
def whole_file(path: Path):
    """A path to write to: the file is there in the end, or as it was where that fails."""
    part = path.with_name(f".{uuid.uuid4().hex}-{path.name}")  # other processes may write it, too
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def new_file(text: str) -> Path:
    """A kind of option: a file that is not there yet, so that nothing is written over."""
    if Path(text).exists():
        raise ValueError(f"{text!r} is there already: give another name, or remove it")
    return Path(text)


class Fixed(NamedTuple):
    """In the place of a prior: the value that a parameter has."""

    value: float


def suited(prior: Any, parameter: Parameter) -> Any:
    """What `prior_of` returned, made for a parameter: a normal prior ends at its bounds.

    Raises
    ------
    ValueError
        If a prior reaches beyond the bounds, or a fixed value is outside.
    """
    info = parameter.info
    if isinstance(prior, Fixed):
        if not np.all(info.contains(prior.value)):
            raise ValueError(f"{parameter.path} = {prior.value:g} is not in {info.bounds}")
    elif prior is not None:
        ends = {"low": info.lower, "high": info.upper}
        ends = {name: end for name, end in ends.items() if math.isfinite(end)}
        unit = f" {info.unit}" if info.unit else ""
        if isinstance(prior, dist.Normal):
            middle, width = float(prior.loc), _FAR * float(prior.scale)
            low, high = middle + width, middle - width  # some of it must be inside
            where = f"{middle:g} +- {float(prior.scale):g}"
        else:
            low, high = prior_limits(prior) if isinstance(prior, dist.Distribution) else prior
            where = f"{low:g} to {high:g}"
        if low < info.lower or high > info.upper:
            raise ValueError(
                f"{parameter.path}: {where} is not within what is possible, {info.bounds}{unit}"
            )
        if isinstance(prior, dist.Normal) and ends:
            prior = dist.TruncatedNormal(prior.loc, prior.scale, **ends)
        as_prior(prior, [parameter])
    return prior


def split_fixed(priors: dict[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """Priors, None for what has none; and the values of what is fixed at one."""
    fixed = {name: prior.value for name, prior in priors.items() if isinstance(prior, Fixed)}
    return {**priors, **dict.fromkeys(fixed)}, fixed


def prior_of(given: Any) -> Any:
    """A prior from text or from a file: ``1:20``, ``log:1:20``, ``normal:5:0.2``, ``fixed:3``.

    In a file ``[1.0, 20.0]`` is the first of these.

    Returns
    -------
    tuple, numpyro.distributions.Distribution, Fixed or None
        The lowest and the highest value; a log-uniform or a normal distribution; the value of what
        is fixed; None for ``fixed`` alone, at the value where it starts.

    Raises
    ------
    ValueError
        For anything else.
    """
    text = given if isinstance(given, str) else ""
    if isinstance(given, list):
        text = ":".join(map(str, given))
    if text == "fixed":
        return None
    kind, *rest = text.split(":")
    if kind not in ("log", "normal", "fixed"):
        kind, rest = "", [kind, *rest]
    try:
        if kind == "fixed":
            (value,) = map(float, rest)
            return Fixed(value)
        one, two = map(float, rest)
    except ValueError:
        raise ValueError(f"{given!r} is no prior: give {PRIORS}") from None
    if not (math.isfinite(one) and math.isfinite(two)):
        raise ValueError(f"{given!r} must have finite numbers")
    if kind == "normal":
        if not two > 0:
            raise ValueError(f"{given!r} has a standard deviation that is not positive")
        return dist.Normal(one, two)
    if not one < two or (kind == "log" and not one > 0):
        raise ValueError(f"{given!r} is no range: LOW < HIGH, and 0 < LOW for log")
    return dist.LogUniform(one, two) if kind == "log" else (one, two)


def written_prior(prior: Any) -> str:
    """A prior as `prior_of` takes it."""
    if prior is None or isinstance(prior, Fixed):
        return '"fixed"' if prior is None else f'"fixed:{prior.value!r}"'
    if isinstance(prior, tuple):
        return str(list(prior))
    if isinstance(prior, dist.LogUniform):
        return f'"log:{float(prior.low)!r}:{float(prior.high)!r}"'
    prior = getattr(prior, "base_dist", prior)  # one that ends at bounds
    return f'"normal:{float(prior.loc)!r}:{float(prior.scale)!r}"'


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """A question after a name that is none of these, or nothing."""
    close = difflib.get_close_matches(name, names, n=2)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
