"""Save models and results in one file and load them again, without pickle."""

import dataclasses
import enum
import importlib
import json
import os
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution, constraints, transforms

from ..model import Model, run_checks
from ..parameter import is_traced

_FORMAT = "pytreefit"
_VERSION = 1
_HEADER = "header"
_OF_NUMPYRO = (Distribution, transforms.Transform, constraints.Constraint)
_BOUND = type(Model().get)  # Equinox's bound methods


def save(path: str | os.PathLike, obj: Any) -> None:
    """Save a model, a posterior, a result, or any tree of such, dictionaries, tuples and lists.

    The file is an uncompressed ``.npz`` archive: the arrays, and a JSON header with the structure
    and the import path of each class and function. It replaces an existing file in one step, so an
    interrupted save leaves the old one.

    Parameters
    ----------
    path
        File name, used as it is (``.npz`` is customary).
    obj
        What to save: Equinox modules, dataclasses and NumPyro's distributions, which hold arrays,
        numbers, strings, booleans, None, enumerations, their own methods and functions that are
        defined at the top level of a module.

    Raises
    ------
    TypeError
        If something inside cannot be saved, such as a lambda; the message says where it is.
    """
    arrays: dict[str, np.ndarray] = {}
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "tree": _encode(obj, type(obj).__name__, arrays),
    }
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, **{_HEADER: np.array(json.dumps(header))}, **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | os.PathLike) -> Any:
    """Load what :func:`save` wrote; the classes must be importable and have the same fields.

    Constructors are not called, but every module's ``__check_init__`` is. Functions are taken only
    from packages that have been imported already, for instance with the file's own classes, and
    never from Python's standard library.

    Raises
    ------
    ValueError
        If the file is of another format or a newer version, a class is unknown or has other
        fields, an array is damaged, or double precision was saved and JAX runs in single.
    """
    if not zipfile.is_zipfile(path):
        # Of a missing file, this is the error to raise.
        with open(path, "rb"):
            raise ValueError(f"{path} was not written by pytreefit.save, or it is cut short.")
    with np.load(path, allow_pickle=False) as file:
        if _HEADER not in file.files:
            raise ValueError(f"{path} has no header: it was not written by pytreefit.save.")
        try:
            header = json.loads(str(file[_HEADER]))
            written_by, version = header["format"], header["version"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path} has a damaged header.") from None
        if written_by != _FORMAT:
            raise ValueError(f"{path} has the format {written_by!r} instead of {_FORMAT!r}.")
        if version > _VERSION:
            raise ValueError(
                f"{path} has format version {version} but this pytreefit reads up to {_VERSION}: "
                "update it."
            )
        return _decode(header["tree"], str(path), file)


def _encode(value: Any, where: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    if value is None or type(value) in (bool, int, float, str):
        return {"value": value}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _encode_array(value, where, arrays)
    if isinstance(value, _BOUND):
        owner = _encode(value.__self__, f"{where}.__self__", arrays)
        return {"method": value.__func__.__name__, "of": owner}
    if isinstance(value, enum.Enum):
        return {"enum": _name(type(value), where), "member": value.name}
    if isinstance(value, types.FunctionType):
        return {"function": _name(value, where)}
    if isinstance(value, _OF_NUMPYRO):
        return {"object": _name(type(value), where), "fields": _fields(value, where, arrays)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"module": _name(type(value), where), "fields": _fields(value, where, arrays)}
    if hasattr(value, "_asdict"):
        return {"record": _name(type(value), where), "fields": _fields(value, where, arrays)}
    if type(value) in (dict, OrderedDict):
        items = [
            [_encode_key(key, where), _encode(entry, f"{where}.{key}", arrays)]
            for key, entry in value.items()  # pyright: ignore[reportAttributeAccessIssue]
        ]
        return {type(value).__name__: items}
    if type(value) in (tuple, list):
        entries = [_encode(entry, f"{where}.{i}", arrays) for i, entry in enumerate(value)]
        return {type(value).__name__: entries}
    kind = "function" if callable(value) else type(value).__name__
    raise TypeError(
        f"{where} is a {kind} ({value!r}), which cannot be saved. Saved are Equinox modules, "
        "dataclasses, dictionaries, tuples, lists, arrays, numbers, strings, None and functions "
        "defined at the top level of a module."
    )


def _fields(value: Any, where: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    if isinstance(value, _OF_NUMPYRO):
        state = vars(value)
    elif hasattr(value, "_asdict"):
        state = value._asdict()
    else:
        state = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {name: _encode(entry, f"{where}.{name}", arrays) for name, entry in state.items()}


def _name(thing: Any, where: str) -> str:
    """Where to import a class or function from, made sure of now: later it would be too late."""
    name = f"{thing.__module__}:{thing.__qualname__}"
    kind = "class" if isinstance(thing, type) else "function"
    try:
        found = _find(name, where)
    except ValueError as error:
        raise TypeError(f"{error} Define the {kind} at the top level of a module.") from None
    if found is not thing:
        raise TypeError(f"{where}: its {kind} is no longer what {name} names: make it anew.")
    if kind == "function":
        _trusted(name, where)
    return name


def _encode_key(key: Any, where: str) -> Any:
    if not isinstance(key, str | int):
        raise TypeError(f"{where} has the key {key!r}: only strings and integers can be saved.")
    return key


def _encode_array(value: Any, where: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    if is_traced(value):
        raise TypeError(f"{where} is traced by JAX and has no value yet: save outside of jit.")
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        raise TypeError(f"{where} is a random key: save jax.random.key_data of it.")
    array = np.asarray(value)
    if array.dtype.kind not in "biufcSU":
        raise TypeError(f"{where} is an array of {array.dtype}, which cannot be saved.")
    name = f"array_{len(arrays)}"
    arrays[name] = array
    kinds = {jax.Array: "jax", np.ndarray: "numpy", np.generic: "scalar"}
    kind = next(kind for base, kind in kinds.items() if isinstance(value, base))
    node = {"array": name, "kind": kind, "dtype": array.dtype.str, "shape": list(array.shape)}
    if kind == "numpy" and not array.flags.writeable:
        node["read_only"] = True
    return node


def _decode(node: dict[str, Any], where: str, file: Any) -> Any:
    if "value" in node:
        return node["value"]
    if "array" in node:
        return _decode_array(node, where, file)
    if "module" in node:
        return _decode_module(node, where, file)
    if "record" in node:
        cls = _find_class(node["record"], where, tuple)
        parts = node["fields"].items()
        return cls(**{name: _decode(part, f"{where}.{name}", file) for name, part in parts})
    if "object" in node:
        return _decode_object(node, where, file)
    if "method" in node:
        return _decode_method(node, where, file)
    if "function" in node:
        return _decode_function(node["function"], where)
    if "enum" in node:
        members: Any = _find_class(node["enum"], where, enum.Enum)
        return members[node["member"]]
    for mapping in (dict, OrderedDict):
        if mapping.__name__ in node:
            items = node[mapping.__name__]
            return mapping((key, _decode(entry, f"{where}.{key}", file)) for key, entry in items)
    for sequence in (tuple, list):
        if sequence.__name__ in node:
            entries = node[sequence.__name__]
            return sequence(_decode(entry, f"{where}.{i}", file) for i, entry in enumerate(entries))
    raise ValueError(f"{where} has an unknown entry {sorted(node)} in the header.")


def _decode_array(node: dict[str, Any], where: str, file: Any) -> Any:
    name, dtype, shape = node["array"], node["dtype"], tuple(node["shape"])
    if name not in file.files:
        raise ValueError(f"{where} is missing in the file: {name!r} is not in the archive.")
    array = file[name]
    if array.dtype.str != dtype or array.shape != shape:
        raise ValueError(
            f"{where} is {array.dtype.str} of shape {array.shape} but the header says {dtype} of "
            f"shape {shape}: the file is damaged."
        )
    if node["kind"] == "scalar":
        return array[()]
    if node["kind"] != "jax":
        array.flags.writeable = not node.get("read_only", False)
        return array
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise ValueError(
            f"{where} was saved as {array.dtype} but JAX runs in single precision: load it after "
            "jax.config.update('jax_enable_x64', True)."
        )
    return jnp.asarray(array)


def _decode_module(node: dict[str, Any], where: str, file: Any) -> Any:
    cls = _find_class(node["module"], where)
    expected = {field.name for field in dataclasses.fields(cls)}
    saved = set(node["fields"])
    if expected != saved:
        raise ValueError(
            f"{where} was saved by another version of {node['module']}: the file has "
            f"{sorted(saved - expected)} which the class has not, and lacks "
            f"{sorted(expected - saved)}."
        )
    module = object.__new__(cls)
    for name, entry in node["fields"].items():
        object.__setattr__(module, name, _decode(entry, f"{where}.{name}", file))
    if isinstance(module, eqx.Module):
        run_checks(module)
    return module


def _decode_object(node: dict[str, Any], where: str, file: Any) -> Any:
    cls = _find_class(node["object"], where, _OF_NUMPYRO)
    made = cls.__new__(cls)  # the one instance of a class that has one
    for name, entry in node["fields"].items():
        vars(made)[name] = _decode(entry, f"{where}.{name}", file)
    return made


def _decode_method(node: dict[str, Any], where: str, file: Any) -> Any:
    owner = _decode(node["of"], where, file)
    method = getattr(owner, node["method"], None)
    if not isinstance(method, _BOUND):
        raise ValueError(f"{where}: {type(owner).__name__} has no method {node['method']!r}.")
    return method


def _decode_function(name: str, where: str) -> Any:
    _trusted(name, where)
    found = _find(name, where)
    if not isinstance(found, types.FunctionType) or found.__module__ != name.partition(":")[0]:
        raise ValueError(f"{where} is a {name}, which is not a function of that module.")
    return found


def _trusted(name: str, where: str) -> None:
    """Raise ValueError for a function of a package that nothing has imported, or of Python."""
    package = name.partition(":")[0].partition(".")[0]
    if package in sys.stdlib_module_names:
        raise ValueError(f"{where} is a {name}, of Python's standard library: refused.")
    if package not in sys.modules:
        raise ValueError(f"{where} is a {name}: import {package} first if you trust it.")


def _find(name: str, where: str) -> Any:
    module_name, _, qualname = name.partition(":")
    try:
        found = importlib.import_module(module_name)
        for attribute in qualname.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{where} is a {name}, which cannot be imported: {error}.") from None
    return found


def _find_class(name: str, where: str, base: Any = None) -> Any:
    found = _find(name, where)
    fits = isinstance(found, type)
    fits = fits and (dataclasses.is_dataclass(found) if base is None else issubclass(found, base))
    if not fits:
        kind = "an Equinox module or dataclass" if base is None else "a class of the right kind"
        raise ValueError(f"{where} is a {name}, which is not {kind}.")
    return found
