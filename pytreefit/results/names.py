"""The classes and functions that a file may name: a file runs nothing and imports nothing else."""

import importlib
import importlib.util
import re
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpyro.distributions import Distribution, constraints, transforms

from ..model import Model

BOUND = type(Model().get)  # Equinox's bound methods
OF_NUMPYRO = (Distribution, transforms.Transform, constraints.Constraint)

_OURS = ("pytreefit", "grater", "spotgp")
_HOME = Path(__file__).resolve().parents[2]  # where the three packages lie
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def name_of(thing: Any) -> str | None:
    """Module and qualified name of a class or function, as files write it; None of all else."""
    if not isinstance(thing, type | types.FunctionType):
        return None
    return f"{thing.__module__}:{thing.__qualname__}"


def look_up(name: str) -> Any:
    """What a name stands for in the modules that are imported, or None; no code runs."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    module, _, qualname = name.partition(":")
    found = sys.modules.get(module)
    for attribute in qualname.split("."):
        if not isinstance(found, types.ModuleType | type):
            return None
        found = vars(found).get(attribute)
    return found


class Known:
    """The classes and functions that a file may name.

    Those of these packages, NumPyro's distributions with their transforms and constraints, models
    that are imported already, and what is handed in.
    """

    def __init__(self, handed_in: Iterable[Any] = ()):
        handed_in = tuple(handed_in) if isinstance(handed_in, Iterable) else (handed_in,)
        for thing in handed_in:
            if name_of(thing) is None:
                raise TypeError(f"classes has {thing!r}: give a list of classes and functions.")
        self.handed_in = {name_of(thing): thing for thing in handed_in}

    def find(self, name: str, where: str) -> Any:
        """What a name stands for; ValueError unless a file may name it."""
        if not isinstance(name, str):
            raise ValueError(f"{where}: {name!r} is no name of a class or function.")
        if name in self.handed_in:
            return self.handed_in[name]
        module = name.partition(":")[0]
        ours = _NAME.fullmatch(name) is not None and _is_ours(module)
        if ours:
            _import(module)
        found = look_up(name)
        if name_of(found) == name and (ours or _is_of_numpyro(module, found) or _is_model(found)):
            return found
        last = name.rpartition(":")[2].rpartition(".")[2]
        raise ValueError(
            f"{where} is a {name}, which is not known here, and load imports nothing that a file "
            "names. Import the module that defines it, if it is a pytreefit.Model; otherwise, or "
            f"if it is a function, hand it in: load(path, classes=[{last}])."
        )


def _is_model(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Model)


def _is_of_numpyro(module: str, found: Any) -> bool:
    inside = f"{module}.".startswith("numpyro.distributions.")
    return inside and isinstance(found, type) and issubclass(found, OF_NUMPYRO)


def _is_ours(module: str) -> bool:
    """Whether a module is of these packages, and these are not others of the same name."""
    package = module.partition(".")[0]
    if package not in _OURS:
        return False
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # imported, by no means of the import system
        return False
    if spec is None or spec.origin is None:
        return False
    return Path(spec.origin).resolve().parents[1] == _HOME


def _import(module: str) -> None:
    """Import a module of these packages, if there is one of this name."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        return  # then its names are not known
