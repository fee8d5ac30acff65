"""Compiled programs that outlive the process: JAX's compilation cache, set up in one line."""

import contextlib
import functools
import hashlib
import os
import platform
import sys
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache
from numpyro.distributions import Distribution


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
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path


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
