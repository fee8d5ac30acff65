"""From the header and the arrays of a file back to models and results."""

import dataclasses
import enum
import inspect
import json
import types
from collections import OrderedDict
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ..model import run_checks
from .archive import Archive
from .names import BOUND, OF_NUMPYRO, Known

FORMAT = "pytreefit"
VERSION = 1
HEADER = "header"
_LONGEST = 300  # characters of a place that errors name


def read(archive: Archive, known: Known, path: str) -> Any:
    """What is in a file; ValueError or any other exception if it is damaged."""
    if HEADER not in archive:
        raise ValueError("has no header: it was not written by pytreefit.save.")
    try:
        header = json.loads(str(archive.take(HEADER)))
        written_by, version, tree = header["format"], header["version"], header["tree"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"has a damaged header: {error!r}.") from None
    if written_by != FORMAT:
        raise ValueError(f"has the format {written_by!r} instead of {FORMAT!r}.")
    if type(version) is not int:
        raise ValueError(f"has the format version {version!r}, which is no integer.")
    if version > VERSION:
        raise ValueError(
            f"has format version {version} but this pytreefit reads up to {VERSION}: update it."
        )
    return _Reader(archive, known).decode(tree, path)


def _inside(where: str, name: Any) -> str:
    """A place in a file, for errors; names are the file's, and may be of any length."""
    inside = f"{where}.{name}"
    half = _LONGEST // 2
    return inside if len(inside) <= _LONGEST else f"{inside[:half]}...{inside[-half:]}"


class _Reader:
    """Decodes the nodes of a header, which are what ``save`` made of the values."""

    def __init__(self, archive: Archive, known: Known):
        self.archive, self.known = archive, known

    def decode(self, node: dict[str, Any], where: str) -> Any:
        if not isinstance(node, dict):
            raise ValueError(f"{where} is no entry of a header: {node!r:.80}")
        for kind in ("array", "module", "record", "object", "method", "function", "enum"):
            if kind in node:
                return getattr(self, f"_{kind}")(node, where)
        if "value" in node:
            value = node["value"]
            if value is not None and type(value) not in (bool, int, float, str):
                raise ValueError(f"{where} is no number, string or None: {value!r:.80}")
            return value
        for mapping in (dict, OrderedDict):
            if mapping.__name__ in node:
                return mapping(
                    (self._key(key, where), self.decode(entry, _inside(where, key)))
                    for key, entry in node[mapping.__name__]
                )
        for sequence in (tuple, list):
            if sequence.__name__ in node:
                entries = enumerate(node[sequence.__name__])
                return sequence(self.decode(entry, _inside(where, i)) for i, entry in entries)
        raise ValueError(f"{where} has an unknown entry {sorted(node)!r:.80} in the header.")

    def _key(self, key: Any, where: str) -> str | int:
        if not isinstance(key, str | int):
            raise ValueError(f"{where} has the key {key!r:.80}, no string or integer.")
        return key

    def _fields(self, node: dict[str, Any], where: str, expected=None) -> dict[str, Any]:
        fields = node["fields"]
        if expected is not None and set(fields) != set(expected):
            name = next(name for kind, name in node.items() if kind != "fields")
            raise ValueError(
                f"{where} was saved by another version of {name}: the file has "
                f"{sorted(set(fields) - set(expected))} which the class has not, and lacks "
                f"{sorted(set(expected) - set(fields))}."
            )
        return {name: self.decode(part, _inside(where, name)) for name, part in fields.items()}

    def _class(self, name: str, where: str, base: type | tuple[type, ...] | None = None) -> Any:
        found = self.known.find(name, where)
        fits = isinstance(found, type)
        fits = fits and (issubclass(found, base) if base else dataclasses.is_dataclass(found))
        if not fits:
            kind = "a class of the right kind" if base else "an Equinox module or dataclass"
            raise ValueError(f"{where} is a {name}, which is not {kind}.")
        return found

    def _array(self, node: dict[str, Any], where: str) -> Any:
        name, kind, shape = node["array"], node["kind"], tuple(node["shape"])
        if kind not in ("jax", "numpy", "scalar"):
            raise ValueError(f"{where} is an array of the unknown kind {kind!r:.80}.")
        if name not in self.archive:
            raise ValueError(
                f"{where} is missing in the file: {name!r:.80} is not in it, or used twice."
            )
        try:
            array = self.archive.take(name, node["dtype"], shape)
        except ValueError as error:
            raise ValueError(f"{where} {error}.") from None
        if kind == "scalar":
            return array[()]
        if kind == "numpy":
            array.flags.writeable = not node.get("read_only", False)
            return array
        if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
            raise ValueError(
                f"{where} was saved as {array.dtype} but JAX runs in single precision: load it "
                "after jax.config.update('jax_enable_x64', True)."
            )
        return jnp.asarray(array)

    def _module(self, node: dict[str, Any], where: str) -> Any:
        cls = self._class(node["module"], where)
        module = object.__new__(cls)
        expected = [field.name for field in dataclasses.fields(cls)]
        for name, value in self._fields(node, where, expected).items():
            object.__setattr__(module, name, value)
        if isinstance(module, eqx.Module):
            run_checks(module)
        return module

    def _record(self, node: dict[str, Any], where: str) -> Any:
        cls = self._class(node["record"], where, tuple)
        fields = self._fields(node, where, cls._fields)
        return tuple.__new__(cls, [fields[name] for name in cls._fields])

    def _object(self, node: dict[str, Any], where: str) -> Any:
        cls = self._class(node["object"], where, OF_NUMPYRO)
        fields, made = self._fields(node, where), cls.__new__(cls)
        if made is not cls.__new__(cls):  # else it is the one of its class, which others use too
            vars(made).update(fields)
        return made

    def _enum(self, node: dict[str, Any], where: str) -> Any:
        members: Any = self._class(node["enum"], where, enum.Enum)
        return members[node["member"]]

    def _method(self, node: dict[str, Any], where: str) -> Any:
        owner, name = self.decode(node["of"], where), node["method"]
        # looked up without running a property
        if isinstance(inspect.getattr_static(type(owner), name, None), types.FunctionType):
            method = getattr(owner, name)
            if isinstance(method, BOUND):
                return method
        raise ValueError(f"{where}: {type(owner).__name__} has no method {name!r:.80}.")

    def _function(self, node: dict[str, Any], where: str) -> Any:
        found = self.known.find(node["function"], where)
        if not isinstance(found, types.FunctionType):
            raise ValueError(f"{where} is a {node['function']}, which is not a function.")
        return found
