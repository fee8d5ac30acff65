"""Writes rows into a store: each into this process' own file, and onto the disk at once."""

import contextlib
import datetime
import json
import os
import secrets
import socket
import sys
import threading
import time
import warnings
from collections import ChainMap, deque
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .._lock import lock, unlock
from ..arrays import check_kind
from ..results.files import save
from .rows import Record, line_of
from .store import FORMAT, HEADER, LOCKS, RESULTS, ROWS, VERSION, Store, read_header, result_path
from .targets import Shard

PACKAGES = ("grater-spotgp", "jax", "jaxlib", "equinox", "numpy", "numpyro", "scipy", "astropy")


_LONGEST = 150  # characters of a value that a sentence shows
_TRIES, _PAUSE = 5, 0.02  # seconds: shards that begin at once look at each other's locks


class Writer:
    """The part of a store that one process fills.

    Nobody else writes its file of rows, so that nothing can be torn but the last row, which the
    next process does again. A lock keeps two processes from doing the same targets.
    """

    def __init__(
        self, store: Any, configuration: dict[str, Any], shard: Shard, sources: Mapping[str, str]
    ):
        check_kind("store", store, str | os.PathLike)
        path = Path(store).absolute()
        self.path, self.waiting, self.error = path, deque(), None
        self._file, self._good, self._written = None, 0, 0
        self._turn = threading.Lock()
        with _said(path):
            _make(path, configuration)
        refuse_other(path, read_header(path), configuration)
        with _said(path):
            for folder in (ROWS, RESULTS, LOCKS):
                (path / folder).mkdir(exist_ok=True)
            self._lock = _take(path / LOCKS, shard)
        try:
            self.store, self.sources = Store(path), sources
            self._refuse_other_sources()
            with _said(path):
                self._open(shard)
        except BaseException:
            unlock(*self._lock)
            raise
        self._shard = shard

    def add(self, record: Record, kept: Any = None) -> None:
        """Write a record, after what is kept beside it; what a full disk refuses waits."""
        with self._turn:
            source = self.sources.get(record.name, "")
            record = record._replace(written=_now(), kept=kept is not None, source=source)
            self.waiting.append((record, kept))
            self._flush()

    @property
    def problem(self) -> str:
        """What to say at the end of a run; empty if every row was written."""
        if not self.waiting:
            return ""
        return (
            f"{len(self.waiting)} rows could not be written to {self.path} ({self.error}): make "
            "room, and run it again, which does them anew."
        )

    def remarks(self) -> list[str]:
        """What to know of the store before going on with it."""
        lines = list(self.store.damaged)
        if changed := changed_versions(self.store.header):
            lines.append(f"begun with other versions, last digits may differ: {changed}")
        return lines

    def _refuse_other_sources(self) -> None:
        """ValueError where the store has the row of something else by the same name."""
        for name, source in self.sources.items():
            before = self.store[name].source if self.store.done(name) else ""
            if before and source and before != source:
                if before.partition(" (")[0] == source.partition(" (")[0]:
                    raise ValueError(
                        f"{source.partition(' (')[0]} is another file, or has changed, since "
                        f"{self.path} got the row {name!r}. Use another folder, or another name."
                    )
                raise ValueError(
                    f"{self.path} has {name!r} of {before}, and here it is of {source}: rows are "
                    "known by the name of their target. Use another folder, or another name."
                )

    def wants(self, name: str, retry: bool) -> bool:
        """Whether a target is to be done: one that failed only if asked for, or if it changed."""
        if name not in self.store:
            return True
        before, source = self.store[name].source, self.sources.get(name, "")
        return not self.store.done(name) and (retry or bool(source and before != source))

    def close(self) -> Mapping[str, Record]:
        """Write what waits, let others have the shard, and return all that is known."""
        try:
            with self._turn:
                self._flush()
        finally:
            if self._file is not None:
                os.close(self._file)
                if not self._written:
                    self._path.unlink(missing_ok=True)
            unlock(*self._lock)
        return ChainMap({record.name: record for record, _ in self.waiting}, Store(self.path))

    def _flush(self) -> None:
        try:
            while self.waiting:
                self._write(*self.waiting[0])
                self.waiting.popleft()
        except OSError as error:
            first, self.error = self.error is None, error
            if first:
                warnings.warn(
                    f"A row can't be written to {self.path} ({error}): the run goes on, and keeps "
                    "it in memory until it can.",
                    UserWarning,
                    stacklevel=5,
                )
        else:
            self.error = None

    def _write(self, record: Record, kept: Any) -> None:
        if kept is not None:
            file = result_path(self.path, record.name)
            file.parent.mkdir(exist_ok=True)
            try:
                save(file, kept)
            except OSError:
                raise
            except Exception as error:  # of what can't be saved
                record = record._replace(
                    done=False, row={}, units={}, reason=str(error), kept=False
                )
        if self._file is None:
            self._open(self._shard)
        self._append(line_of(record))
        self._written += 1

    def _open(self, shard: Shard) -> None:
        """A new file, which says who writes it."""
        host = "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:40]
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
        name = f"{stamp}-{host}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._path = self.path / ROWS / name
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        self._good = 0
        writer = {"host": host, "process": os.getpid(), "shard": str(shard), "versions": versions()}
        try:
            self._append(json.dumps({"writer": writer}).encode() + b"\n")
        except OSError:
            self._drop()
            self._path.unlink(missing_ok=True)
            raise
        _sync_folder(self.path / ROWS)

    def _append(self, line: bytes) -> None:
        """All of a line, or nothing."""
        assert self._file is not None
        try:
            left = line
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except BaseException:
            try:
                os.ftruncate(self._file, self._good)
                os.lseek(self._file, self._good, os.SEEK_SET)
            except OSError:
                self._drop()  # a torn line is the last of its file, and the next goes to another
            raise
        self._good += len(line)

    def _drop(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._file = None


_BINARY = getattr(os, "O_BINARY", 0)  # of Windows


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the last digits."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@contextlib.contextmanager
def _said(path: Path):
    """OSError with a sentence, before any work is done."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        message = f"store = {path} can't be written ({why}): give a folder that can."
        raise type(error)(error.errno, message) from error


def _make(path: Path, configuration: dict[str, Any]) -> None:
    """A folder with a header, unless there is one; of two that make it at once, one does."""
    path.mkdir(parents=True, exist_ok=True)
    header = path / HEADER
    if header.exists():
        return
    others = [file.name for file in path.iterdir() if not file.name.startswith(HEADER)]
    if others and not header.exists():
        raise ValueError(
            f"store = {path} is a folder with other things in it, such as {sorted(others)[0]!r}: "
            "give an empty or a new one."
        )
    content = {
        "format": FORMAT,
        "version": VERSION,
        "made": _now(),
        "configuration": configuration,
        "versions": versions(),
    }
    temporary = path / f"{HEADER}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "w") as stream:
            json.dump(content, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(temporary, header)  # fails where another process was faster
        except FileExistsError:
            return
        except OSError:  # a file system without links
            os.replace(temporary, header)
        _sync_folder(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    """Make names of new files survive a loss of power, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def refuse_other(path: Path, header: dict[str, Any], configuration: dict[str, Any]) -> None:
    """ValueError that names the difference if a store was made by another configuration."""
    old = header["configuration"]
    new = json.loads(json.dumps(configuration))
    for name in dict.fromkeys([*old, *new]):
        there, here = (_text(c[name]) if name in c else "nothing" for c in (old, new))
        if there != here:
            there, here = _about_the_difference(there, here)
            raise ValueError(
                f"{path} was begun with {name} = {there}, and this run has {here}: its rows would "
                "not be of one kind. Use the same, or another folder."
            )


def changed_versions(header: dict[str, Any]) -> str:
    """Which packages are of other versions than when the store was made; empty if none."""
    old, new = header["versions"], versions()
    changed = [name for name in new if name in old and old[name] != new[name]]
    return ", ".join(f"{name} {new[name]} (was {old[name]})" for name in changed)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _about_the_difference(one: str, other: str) -> tuple[str, str]:
    """Two texts, or of long ones what is about the first place where they differ."""
    if max(len(one), len(other)) <= _LONGEST:
        return one, other
    pairs = enumerate(zip(one, other, strict=False))
    common = next((k for k, (a, b) in pairs if a != b), min(len(one), len(other)))
    start = max(common - _LONGEST // 3, 0)
    end = start + _LONGEST
    parts = (f"{'...' * (start > 0)}{t[start:end]}{'...' * (len(t) > end)}" for t in (one, other))
    first, second = parts
    return first, second


def _take(folder: Path, shard: Shard) -> tuple[Path, int]:
    """The lock of a shard; ValueError where another process has a target of it."""
    own = folder / f"{shard.number}-of-{shard.count}.lock"
    try:
        taken = own, lock(own)
    except BlockingIOError as error:
        raise _in_use(folder, shard, str(error)) from None
    try:
        for file in folder.glob("*-of-*.lock"):
            other = Shard(*map(int, file.stem.split("-of-")))
            if file == own or not shard.overlaps(other):
                continue
            try:
                unlock(file, _patiently(file))  # left by a process that has ended
            except BlockingIOError as error:
                raise _in_use(folder, other, str(error)) from None
    except BaseException:
        unlock(*taken)
        raise
    return taken


def _patiently(file: Path) -> int:
    """The lock of another shard, also where others look at the same moment whether it is free."""
    for _ in range(_TRIES):
        with contextlib.suppress(BlockingIOError):
            return lock(file)
        time.sleep(_PAUSE)
    return lock(file)


def _in_use(folder: Path, shard: Shard, owner: str) -> ValueError:
    return ValueError(
        f"store = {folder.parent} is in use by another run ({owner}, shard {shard}): wait until "
        "that has ended, or give each run a shard of its own, such as 0/2 and 1/2."
    )
