"""Models whose parameters have dotted names: how these are found and replaced."""

import dataclasses
import difflib
import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self, TypeVar

import equinox as eqx
import jax
import numpy as np

from .parameter import KEY, Converter, ParamInfo, check_value, is_traced
from .table import Table

_M = TypeVar("_M", bound=eqx.Module)
_INLINE = "pytreefit.inline"  # in the metadata of a field
_MISSING = object()


class Model(eqx.Module):
    """Base class of everything with parameters: an Equinox module with names, units and checks.

    Fields declared with :func:`pytreefit.param` are the parameters; sub-models, dictionaries,
    tuples and lists nest. A path names a parameter: attribute names, dictionary keys and positions
    joined by dots, such as ``"disk.inner.inclination"`` or ``"disks.0.phase.g"``.

    Every concrete value is checked when a model is built: finite, inside its bounds, of the right
    shape. Values traced by `jax.jit`, `jax.grad` or `jax.vmap` are checked for shape only.

    Examples
    --------
    >>> from pytreefit import Model, param
    >>> class Line(Model):
    ...     slope: jax.Array = param(bounds="[0, inf)")
    >>> float(Line(slope=2.0).set({"slope": 3.0}).get("slope"))
    3.0
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # A converter sees the value alone; its error shall name the field.
        for name, field in vars(cls).items():
            if isinstance(field, dataclasses.Field) and KEY in field.metadata:
                field.metadata["converter"].where = f"{cls.__name__}.{name}"

    def __check_init__(self):
        for field in dataclasses.fields(self):
            info = field.metadata.get(KEY)
            if info is not None:
                where = f"{type(self).__name__}.{field.name}"
                check_value(where, getattr(self, field.name), info)
        _check_inlined(self)

    def get(self, path: str) -> Any:
        """The value at a path: a parameter's array, or a whole sub-model."""
        return lookup(self, path).value

    def set(self, values: Mapping[str, Any]) -> Self:
        """A new model with some parameters or sub-models replaced, converted and checked again.

        Parameters
        ----------
        values
            New value for each path. A parameter takes what its constructor takes; any other field
            takes any object, for instance ``{"psf": GaussianPSF(fwhm=4)}``.

        Raises
        ------
        ValueError
            If a path is unknown, or a value is outside its bounds or of the wrong shape.
        TypeError
            If a value is not a number, has the wrong dimension, or would replace a sub-model.
        """
        return replace(self, values)

    def parameters(self) -> Table:
        """The table of all parameters, a sequence of ``(path, value, unit, bounds, doc)``."""
        rows = [
            (node.path, _short(node.value), node.info.unit, node.info.bounds, node.info.doc)
            for node in walk(self)
            if node.info is not None
        ]
        return Table(("path", "value", "unit", "bounds", "doc"), rows)

    def __repr__(self) -> str:
        """``Name(field=value, ...)`` with the values of numbers; arrays are kinds and shapes."""
        return eqx.tree_pformat(jax.tree.map(_number, self), width=100)


def _number(leaf):
    """A float of six digits in place of a number that is known; all else as it is."""
    if is_traced(leaf) or not isinstance(leaf, jax.Array) or leaf.ndim:
        return leaf
    floating = jax.numpy.issubdtype(leaf.dtype, np.floating)
    return float(f"{float(leaf):.6g}") if floating else leaf


def _short(value) -> str:
    if is_traced(value) or not eqx.is_array(value):
        return str(value)
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{array:.6g}"
    return np.array2string(array, precision=4, threshold=6, edgeitems=2, separator=", ")


class Node(NamedTuple):
    """A place in a model: its path, what is there, and the parameter information if it is one."""

    path: str
    value: Any
    info: ParamInfo | None
    where: str


class Parameter(NamedTuple):
    """A node that is a parameter."""

    path: str
    value: Any
    info: ParamInfo
    where: str


def inline(**arguments) -> Any:
    """Declare a field whose module has no name in paths: what is inside is at its owner's paths.

    Where the field holds a dictionary or a sequence, its name is in the paths as always. Arguments
    are those of `equinox.field`.
    """
    return eqx.field(metadata={_INLINE: True}, **arguments)


@functools.cache
def _fields(kind: type) -> list[tuple[str, ParamInfo | None, bool]]:
    """Name, what is declared of it as a parameter, and whether its name is left out of paths."""
    fields = dataclasses.fields(kind)
    return [(f.name, f.metadata.get(KEY), _INLINE in f.metadata) for f in fields]


def _inlined(node: eqx.Module) -> dict[str, eqx.Module]:
    """The modules of a module whose names are left out of paths, by field."""
    values = {
        name: getattr(node, name, None) for name, _, inlined in _fields(type(node)) if inlined
    }
    return {name: value for name, value in values.items() if isinstance(value, eqx.Module)}


def _check_inlined(node: eqx.Module) -> None:
    """ValueError where what is inside of an inlined field has the path of something else."""
    if parts := _inlined(node):
        names = [name for name, *_ in _children(node)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            kinds = ", ".join(type(part).__name__ for part in parts.values())
            raise ValueError(
                f"{type(node).__name__} and its {kinds} both have {', '.join(twice)}: a path must "
                "name one of them only."
            )


def _children(node) -> Iterator[tuple[str, Any, ParamInfo | None]]:
    if isinstance(node, eqx.Module):
        for name, info, inlined in _fields(type(node)):
            value = getattr(node, name, _MISSING)
            if inlined and isinstance(value, eqx.Module):
                yield from _children(value)
            elif value is not _MISSING:
                yield name, value, info
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield str(key), value, None
    elif isinstance(node, tuple | list):
        for index, value in enumerate(node):
            yield str(index), value, None


def walk(model, prefix: str = "") -> Iterator[Node]:
    """Every path of a model in the order of its fields, parents before their children."""
    for name, value, info in _children(model):
        yield Node(prefix + name, value, info, f"{type(model).__name__}.{name}")
        yield from walk(value, f"{prefix}{name}.")


def lookup(model, path: str) -> Node:
    """The node at a path; ValueError with suggestions if there is none."""
    node = Node("", model, None, "")
    for name in path.split("."):
        parent = node.value
        for child, value, info in _children(parent):
            if child == name:
                node = Node(path, value, info, f"{type(parent).__name__}.{name}")
                break
        else:
            raise _unknown(model, path)
    return node


def lookup_parameter(model, path: str) -> Parameter:
    """The parameter at a path; ValueError with suggestions if there is none."""
    node = lookup(model, path)
    if node.info is None:
        inside = [n.path for n in walk(node.value, f"{path}.") if n.info is not None]
        hint = f" Name one of its parameters: {', '.join(inside)}." if inside else ""
        raise ValueError(
            f"{path!r} is a {type(node.value).__name__}, not a parameter of the model.{hint}"
        )
    return Parameter(node.path, node.value, node.info, node.where)


def convert_value(parameter: Parameter, value, where: str | None = None) -> jax.Array:
    """A value, or an array of values, converted as the parameter's own field does it."""
    return Converter(parameter.info.unit, where or parameter.where)(value)


def _unknown(model, path: str) -> ValueError:
    known = [node.path for node in walk(model)]
    last = path.rpartition(".")[2]
    by_last: dict[str, list[str]] = {}
    for candidate in known:
        by_last.setdefault(candidate.rpartition(".")[2], []).append(candidate)
    close = list(by_last.get(last, []))
    close += difflib.get_close_matches(path, known, n=3)
    close += [p for name in difflib.get_close_matches(last, by_last) for p in by_last[name]]
    close = list(dict.fromkeys(close))[:3]
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return ValueError(
        f"{type(model).__name__} has no parameter {path!r}: {hint}"
        "The method parameters() lists all of them."
    )


def replace(model, values: Mapping[str, Any], *, check: bool = True) -> Any:
    """A model with the values at some paths replaced; every module above them is built anew.

    ``check=False`` converts but does not check: for values that are known to be admissible.
    """
    if not values:
        return model
    for path in values:
        lookup(model, path)
    return _replace(model, {tuple(path.split(".")): v for path, v in values.items()}, check)


def _replace(node: Any, values: dict[tuple[str, ...], Any], check: bool) -> Any:
    if () in values:
        new = values[()]
        if len(values) > 1:
            inside = [".".join(rest) for rest in values if rest]
            raise ValueError(
                f"set cannot replace a {type(node).__name__} and at once what is inside it "
                f"({', '.join(inside)}): call set twice."
            )
        if isinstance(node, eqx.Module) and (eqx.is_array_like(new) or hasattr(new, "to_value")):
            names = [n.path for n in walk(node) if n.info is not None]
            raise TypeError(
                f"A {type(node).__name__} cannot be replaced by the number {new}: to change a "
                f"parameter of it, name that too ({', '.join(names) or 'it has none'})."
            )
        return new
    by_child: dict[str, dict[tuple[str, ...], Any]] = {}
    for (name, *rest), value in values.items():
        by_child.setdefault(name, {})[tuple(rest)] = value
    changed = {
        name: _replace(value, by_child[name], check)
        for name, value, _ in _children(node)
        if name in by_child
    }
    if isinstance(node, eqx.Module):
        for field, part in _inlined(node).items():
            names = [name for name, _, _ in _children(part) if name in changed]
            if names:
                inside = {(name,): changed.pop(name) for name in names}
                changed[field] = _replace(part, inside, check)
        return rebuild(node, changed, check)
    if isinstance(node, Mapping):
        return type(node)({key: changed.get(str(key), value) for key, value in node.items()})
    items = [changed.get(str(index), value) for index, value in enumerate(node)]
    return type(node)(*items) if hasattr(node, "_fields") else type(node)(items)


def rebuild(module: _M, changed: Mapping[str, Any], check: bool = True) -> _M:
    """A copy of a module with some fields changed, converted and checked as its class demands.

    The constructor is not called, for it may take other arguments than the fields.
    """
    new = object.__new__(type(module))
    vars(new).update(vars(module))
    for field in dataclasses.fields(module):
        if field.name in changed:
            converter = field.metadata.get("converter", lambda value: value)
            object.__setattr__(new, field.name, converter(changed[field.name]))
    if check:
        run_checks(new)
    return new


def run_checks(module: eqx.Module) -> None:
    """Run every ``__check_init__`` of a module's class, as Equinox does after a constructor."""
    for cls in type(module).__mro__:
        if "__check_init__" in vars(cls):
            vars(cls)["__check_init__"](module)
