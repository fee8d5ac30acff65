"""Save models and results in one file and load them again, without pickle."""

import dataclasses
import enum
import json
import os
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._fork import refuse_fork
from ..arrays import check_kind
from ..parameter import is_traced
from .archive import KINDS, Archive, plain_file, write
from .names import BOUND, OF_NUMPYRO, Known, look_up
from .reader import FORMAT, HEADER, VERSION, read


def save(path: str | os.PathLike, obj: Any) -> None:
    """Save a model, a posterior, a result, or any tree of such, dictionaries, tuples and lists.

    The file is an uncompressed ``.npz`` archive: the arrays, and a JSON header with the structure
    and the name of each class and function. It replaces an existing file in one step, once it is on
    the disk, and takes over who may read and write that; an interrupted save leaves the old one.
    Where the path is a symbolic link, what it leads to is written.

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
    ValueError
        If there is a folder, a pipe or a device at ``path``.
    OSError
        If the file can't be written.

    Examples
    --------
    >>> import tempfile
    >>> from pytreefit import NormalLaw, load
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/law.npz", NormalLaw(mean=2.0, width=0.5))
    ...     load(f"{folder}/law.npz")
    NormalLaw(mean=2.0, width=0.5)
    """
    check_kind("path", path, str | os.PathLike)
    arrays: dict[str, np.ndarray] = {}
    header = {
        "format": FORMAT,
        "version": VERSION,
        "tree": _encode(obj, type(obj).__name__, arrays),
    }
    write(path, {HEADER: np.array(json.dumps(header)), **arrays})


def load(path: str | os.PathLike, classes: Iterable[Any] = ()) -> Any:
    """Load what :func:`save` wrote; the classes must have the same fields.

    A file runs no code and imports nothing but modules of these packages. What it may name are
    their classes and functions, NumPyro's distributions, and your own :class:`Model` classes in
    modules that are imported; everything else is handed in. Constructors are not called, but every
    module's ``__check_init__`` is.

    Parameters
    ----------
    path
        File name.
    classes
        Further classes (Equinox modules that are no :class:`Model`, dataclasses, enumerations,
        named tuples, distributions) and functions that the file may name.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    TypeError
        If ``classes`` holds something else than classes and functions.
    ValueError
        If it is no plain file, or of another format or a newer version; if a class is not known or
        has other fields; if the file is damaged, or compressed; or if double precision was saved
        and JAX runs in single. The message names the file.

    Examples
    --------
    >>> import tempfile
    >>> from pytreefit import NormalLaw, save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/law.npz", {"NGC 2264": NormalLaw(mean=2.0, width=0.5)})
    ...     laws = load(f"{folder}/law.npz")
    >>> float(laws["NGC 2264"].width)
    0.5
    """
    refuse_fork()
    check_kind("path", path, str | os.PathLike)
    known = Known(classes)
    plain_file(path)
    with open(path, "rb") as stream:
        try:
            return read(Archive(stream), known, os.fspath(path))
        except zipfile.BadZipFile as error:
            problem = f"was not written by pytreefit.save, or it is cut short or damaged: {error}"
        except ValueError as error:
            problem = str(error)
        except RecursionError:
            problem = "is nested too deeply."
        # what a damaged or hostile file can bring about is more than could be listed
        except Exception as error:
            problem = f"can't be read: {type(error).__name__}: {error}"
    name = os.fspath(path)
    raise ValueError(problem if name in problem else f"{name} {problem}") from None


def _encode(value: Any, where: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    if value is None or type(value) in (bool, int, float, str):
        return {"value": value}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _encode_array(value, where, arrays)
    if isinstance(value, BOUND):
        owner = _encode(value.__self__, f"{where}.__self__", arrays)
        return {"method": value.__func__.__name__, "of": owner}
    if isinstance(value, enum.Enum):
        return {"enum": _name(type(value), where), "member": value.name}
    if isinstance(value, types.FunctionType):
        return {"function": _name(value, where)}
    if isinstance(value, OF_NUMPYRO):
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
    if isinstance(value, OF_NUMPYRO):
        state = vars(value)
    elif hasattr(value, "_asdict"):
        state = value._asdict()
    else:
        state = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {name: _encode(entry, f"{where}.{name}", arrays) for name, entry in state.items()}


def _name(thing: Any, where: str) -> str:
    """The name of a class or function, made sure of now: later it would be too late."""
    name = f"{thing.__module__}:{thing.__qualname__}"
    kind = "class" if isinstance(thing, type) else "function"
    found = look_up(name)
    if found is None:
        raise TypeError(
            f"{where} is a {name}, which cannot be imported. Define the {kind} at the top level of "
            "a module."
        )
    if found is not thing:
        raise TypeError(f"{where}: its {kind} is no longer what {name} names: make it anew.")
    if kind == "function" and name.partition(":")[0].partition(".")[0] in sys.stdlib_module_names:
        raise TypeError(f"{where} is a {name}, of Python's standard library: refused.")
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
    if array.dtype.kind not in KINDS:
        raise TypeError(f"{where} is an array of {array.dtype}, which cannot be saved.")
    name = f"array_{len(arrays)}"
    arrays[name] = array
    kinds = {jax.Array: "jax", np.ndarray: "numpy", np.generic: "scalar"}
    kind = next(kind for base, kind in kinds.items() if isinstance(value, base))
    node = {"array": name, "kind": kind, "dtype": array.dtype.str, "shape": list(array.shape)}
    if kind == "numpy" and not array.flags.writeable:
        node["read_only"] = True
    return node
