"""Parameters with units and bounds, and models whose parameters have dotted names."""

import dataclasses
import difflib
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._table import Table

_KEY = "pytreefit"
_INTERVAL = re.compile(r"\s*([\[(])\s*([^,\s]+)\s*,\s*([^,\s]+)\s*([\])])\s*")


@dataclasses.dataclass(frozen=True)
class ParamInfo:
    """What is known about a parameter besides its value: made by :func:`param`.

    Parameters
    ----------
    unit
        The unit of the stored number, in astropy's spelling; ``""`` is dimensionless.
    lower, upper
        Bounds of the allowed values.
    lower_open, upper_open
        Whether a bound itself is excluded.
    label
        Label for plots (LaTeX allowed), or None: the path is the label.
    doc
        One sentence that says what the parameter is.
    shape
        Shape of the value; None is any one-dimensional array.
    """

    unit: str = ""
    lower: float = -math.inf
    upper: float = math.inf
    lower_open: bool = True
    upper_open: bool = True
    label: str | None = None
    doc: str = ""
    shape: tuple[int, ...] | None = ()

    @property
    def bounds(self) -> str:
        """The bounds in interval notation, such as ``"[0, 1)"``."""
        left, right = "(" if self.lower_open else "[", ")" if self.upper_open else "]"
        return f"{left}{self.lower:g}, {self.upper:g}{right}"

    def contains(self, value) -> np.ndarray:
        """Whether each entry of a concrete array lies inside the bounds (same shape, bool)."""
        value = np.asarray(value)
        # The bounds are rounded to the value's precision, so that float32(0.1) is inside [0, 0.1].
        lower, upper = np.asarray(self.lower, value.dtype), np.asarray(self.upper, value.dtype)
        above = value > lower if self.lower_open else value >= lower
        below = value < upper if self.upper_open else value <= upper
        return above & below


def _parse_bounds(bounds: str) -> dict[str, Any]:
    match = _INTERVAL.fullmatch(bounds)
    try:
        left, lower, upper, right = match.groups()
        lower, upper = float(lower), float(upper)
    except (AttributeError, ValueError):
        raise ValueError(
            f"bounds={bounds!r} is not an interval: write it like '[0, 1)' or '(0, inf)'."
        ) from None
    if not lower < upper:
        raise ValueError(f"bounds={bounds!r} is empty: the lower bound must be below the upper.")
    return {"lower": lower, "upper": upper, "lower_open": left == "(", "upper_open": right == ")"}


class _Converter:
    """Makes a float array of whatever the user passes; errors name the field."""

    def __init__(self, unit: str):
        self.unit = unit
        self.where = "parameter"

    def __call__(self, value):
        if hasattr(value, "to_value"):
            try:
                value = value.to_value(self.unit)
            except (TypeError, ValueError) as error:
                expected = f"unit {self.unit!r}" if self.unit else "a dimensionless number"
                raise TypeError(
                    f"{self.where} = {value} cannot be converted to {expected}: {error}. "
                    f"Pass a plain number or a quantity of that dimension."
                ) from None
        try:
            if not all(map(_is_real, jax.tree.leaves(value, is_leaf=lambda leaf: leaf is None))):
                raise TypeError
            return jnp.asarray(value, dtype=jnp.result_type(float))
        except (TypeError, ValueError):
            raise TypeError(
                f"{self.where} = {value!r} is not a real number: pass an int, a float, an array "
                "of them or an astropy Quantity."
            ) from None


def _is_real(leaf) -> bool:
    if hasattr(leaf, "dtype"):
        return jnp.issubdtype(leaf.dtype, np.integer) or jnp.issubdtype(leaf.dtype, np.floating)
    return isinstance(leaf, int | float) and not isinstance(leaf, bool)


def param(
    *,
    unit: str = "",
    bounds: str = "(-inf, inf)",
    label: str | None = None,
    doc: str = "",
    default: Any = dataclasses.MISSING,
    shape: tuple[int, ...] | None = (),
) -> Any:
    """Declare a field of a :class:`Model` to be a parameter, one that can be fitted.

    Whatever is passed for it (int, float, NumPy or JAX array, ``astropy.units.Quantity``) becomes
    an array of JAX's default float type, checked against the bounds and the shape.

    Parameters
    ----------
    unit
        The unit of the stored number, in astropy's spelling; ``""`` is dimensionless.
    bounds
        The allowed values in interval notation: ``"[0, 1)"``, ``"(0, inf)"``.
    label
        Label for plots (LaTeX allowed); the path if not given.
    doc
        One sentence that says what the parameter is.
    default
        The value if none is passed; without it the parameter is required.
    shape
        Shape of the value; None is any one-dimensional array.

    Returns
    -------
    dataclasses.Field
        A field for the body of a :class:`Model` class.

    Raises
    ------
    ValueError
        If ``bounds`` is not an interval.

    Examples
    --------
    >>> class Line(Model):
    ...     slope: jax.Array = param(unit="m / s", bounds="[0, inf)", doc="Speed.")
    >>> Line(slope=2).parameters()
    path   value  unit   bounds    doc
    -----  -----  -----  --------  ------
    slope  2      m / s  [0, inf)  Speed.
    """
    info = ParamInfo(
        unit=unit,
        label=label,
        doc=doc,
        shape=None if shape is None else tuple(shape),
        **_parse_bounds(bounds),
    )
    return eqx.field(converter=_Converter(unit), metadata={_KEY: info}, default=default)


def is_traced(value) -> bool:
    """Whether a value is known only to a JAX transformation, so that it cannot be checked."""
    return isinstance(value, jax.core.Tracer)


def check_value(where: str, value, info: ParamInfo, leading: int = 0) -> None:
    """Raise ValueError unless a value has the right shape and, if concrete, is inside its bounds.

    ``leading`` is the number of batch axes in front of the parameter's own shape.
    """
    shape = jnp.shape(value)[leading:]
    right = len(shape) == 1 if info.shape is None else shape == info.shape
    if not right:
        expected = "one-dimensional" if info.shape is None else f"of shape {info.shape}"
        raise ValueError(
            f"{where} has shape {shape} but must be {expected}. "
            "To hold many values at once use pytreefit.vary or equinox.filter_vmap."
        )
    if is_traced(value):
        return
    array = np.asarray(value)
    unit = f" {info.unit}" if info.unit else ""
    for good, problem in (
        (np.isfinite(array), "is not finite. Allowed are finite values inside"),
        (info.contains(array), "is outside"),
    ):
        if not good.all():
            index = tuple(int(i) for i in np.argwhere(~good)[0])
            at = f"[{', '.join(map(str, index))}]" if index else ""
            raise ValueError(
                f"{where}{at} = {array[index]:.9g}{unit} {problem} {info.bounds}{unit}. "
                "Pass a value inside these bounds."
            )


class Model(eqx.Module):
    """Base class of everything with parameters: an Equinox module with names, units and checks.

    Fields declared with :func:`param` are the parameters; sub-models, dictionaries, tuples and
    lists nest. A path names a parameter: attribute names, dictionary keys and positions joined by
    dots, such as ``"disk.inner.inclination"`` or ``"disks.0.phase.g"``.

    Every concrete value is checked when a model is built: finite, inside its bounds, of the right
    shape. Values traced by ``jax.jit``, ``jax.grad`` or ``jax.vmap`` are checked for shape only.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # A converter sees the value alone; its error shall name the field.
        for name, field in vars(cls).items():
            if isinstance(field, dataclasses.Field) and _KEY in field.metadata:
                field.metadata["converter"].where = f"{cls.__name__}.{name}"

    def __check_init__(self):
        for field in dataclasses.fields(self):
            info = field.metadata.get(_KEY)
            if info is not None:
                where = f"{type(self).__name__}.{field.name}"
                check_value(where, getattr(self, field.name), info)

    def get(self, path: str) -> Any:
        """The value at a path: a parameter's array, or a whole sub-model.

        Parameters
        ----------
        path
            Dotted path, such as ``"disk.phase.g"``.

        Returns
        -------
        Any
            What is stored there.

        Raises
        ------
        ValueError
            If there is no such path; the message suggests the closest ones.
        """
        return lookup(self, path).value

    def set(self, values: Mapping[str, Any]) -> "Model":
        """A new model with some parameters or sub-models replaced, converted and checked again.

        Parameters
        ----------
        values
            New value for each path. A parameter takes what its constructor takes; any other field
            takes any object, for instance ``{"psf": GaussianPSF(fwhm=4)}``.

        Returns
        -------
        Model
            The new model; this one is unchanged.

        Raises
        ------
        ValueError
            If a path is unknown, or a value is outside its bounds or of the wrong shape.
        TypeError
            If a value is not a number, has the wrong dimension, or would replace a sub-model.
        """
        return replace(self, values)

    def parameters(self) -> Table:
        """The table of all parameters: path, value, unit, bounds and doc, one row each.

        Returns
        -------
        Table
            A sequence of ``(path, value, unit, bounds, doc)`` that prints as a table.
        """
        rows = [
            (node.path, _short(node.value), node.info.unit, node.info.bounds, node.info.doc)
            for node in walk(self)
            if node.info is not None
        ]
        return Table(("path", "value", "unit", "bounds", "doc"), rows)


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


def _children(node) -> Iterator[tuple[str, Any, ParamInfo | None]]:
    if isinstance(node, eqx.Module):
        for field in dataclasses.fields(node):
            if hasattr(node, field.name):
                yield field.name, getattr(node, field.name), field.metadata.get(_KEY)
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
    parent, node = model, None
    for name in path.split("."):
        for child, value, info in _children(parent):
            if child == name:
                node = Node(path, value, info, f"{type(parent).__name__}.{name}")
                break
        else:
            raise _unknown(model, path)
        parent = node.value
    return node


def lookup_parameter(model, path: str) -> Node:
    """The parameter at a path; ValueError with suggestions if there is none."""
    node = lookup(model, path)
    if node.info is None:
        inside = [n.path for n in walk(node.value, f"{path}.") if n.info is not None]
        hint = f" Name one of its parameters: {', '.join(inside)}." if inside else ""
        raise ValueError(
            f"{path!r} is a {type(node.value).__name__}, not a parameter of the model.{hint}"
        )
    return node


def convert_value(node: Node, value) -> jax.Array:
    """A value, or an array of values, converted as the parameter's own field does it."""
    converter = _Converter(node.info.unit)
    converter.where = node.where
    return converter(value)


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


def replace(model, values: Mapping[str, Any], *, check: bool = True):
    """A model with the values at some paths replaced; every module above them is built anew.

    ``check=False`` converts but does not check: for values that are known to be admissible.
    """
    if not values:
        return model
    for path in values:
        lookup(model, path)
    return _replace(model, {tuple(path.split(".")): v for path, v in values.items()}, check)


def _replace(node, values: dict[tuple[str, ...], Any], check: bool):
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
        return rebuild(node, changed, check)
    if isinstance(node, Mapping):
        return type(node)({key: changed.get(str(key), value) for key, value in node.items()})
    items = [changed.get(str(index), value) for index, value in enumerate(node)]
    return type(node)(*items) if hasattr(node, "_fields") else type(node)(items)


def rebuild(module: eqx.Module, changed: Mapping[str, Any], check: bool = True) -> eqx.Module:
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
