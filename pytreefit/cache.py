"""Compiled programs that outlive the process: JAX's compilation cache, set up in one line."""

import contextlib
import functools
import hashlib
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache
from numpyro.distributions import Distribution

_SETTINGS = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


def cache_programs(folder: str | os.PathLike | None = None) -> Path:
    """Keep compiled programs on disk, so that the next process need not compile them again.

    This is JAX's persistent compilation cache, told to keep small programs too: a fit or a
    sampling run consists of many. Call it first thing in a script: programs that are there already
    are forgotten. Those that call back into Python are compiled anew in each process. The folder
    that is used is returned.

    Parameters
    ----------
    folder
        Where to; by default ``pytreefit`` in the user's cache folder (``$XDG_CACHE_HOME`` or
        ``~/.cache`` on Linux, ``~/Library/Caches`` on macOS, ``%LOCALAPPDATA%`` on Windows). It may
        be deleted at any time. Each kind of processor has a folder of its own in it.
    """
    base = _user_cache() / "pytreefit" if folder is None else Path(folder).expanduser().absolute()
    path = base / _processor()
    path.mkdir(parents=True, exist_ok=True)
    _order_fields()
    compilation_cache.reset_cache()  # it remembers that there was none
    for name, value in zip(_SETTINGS, (str(path), 0.0, -1), strict=True):
        jax.config.update(name, value)
    return path


@contextlib.contextmanager
def programs_kept() -> Iterator[None]:
    """Programs are kept on the disk meanwhile, where nobody has chosen whether they are.

    A folder that is set already stays the one in use, and JAX's switch is obeyed.
    """
    before = {name: getattr(jax.config, name) for name in _SETTINGS}
    if not getattr(jax.config, "jax_enable_compilation_cache", True):
        yield
        return
    _order_fields()
    if before["jax_compilation_cache_dir"] is None:
        try:
            cache_programs()
        except OSError as error:
            warnings.warn(
                f"Compiled programs can't be kept on the disk ({error}): if this run is killed, "
                "the next one compiles anew. Choose a folder by pytreefit.cache_programs(folder).",
                UserWarning,
                stacklevel=6,
            )
    try:
        yield
    finally:
        if before["jax_compilation_cache_dir"] is None:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()


@functools.cache
def _order_fields() -> None:
    """Flatten NumPyro's distributions in one order in every process.

    NumPyro takes the order of a set of names, which is at random in each process: programs of a
    posterior would differ from those on disk. Those compiled before are of the other order.
    """
    unordered = Distribution.gather_pytree_data_fields.__func__
    ordered = classmethod(lambda cls: tuple(sorted(unordered(cls))))
    Distribution.gather_pytree_data_fields = ordered  # pyright: ignore[reportAttributeAccessIssue]
    jax.clear_caches()


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _processor() -> str:
    """A name for what this processor can do: a home folder may be shared by several machines."""
    features = platform.processor()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as info:  # of Linux
        lines = {line for line in info if line.startswith(("model name", "flags", "Features"))}
        features = "".join(sorted(lines))
    digest = hashlib.sha256(features.encode()).hexdigest()[:12]
    return f"{platform.machine() or 'cpu'}-{digest}"
