"""What programs that do surveys have in common: options of stores, and a look into one."""

import difflib
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..commands import Command, Option
from ..options import one_of, table_file, whole_file, written_prior
from ..table import rounded
from ..threads import cores
from .report import report
from .store import Store
from .tasks import SurveyError

_ENDINGS = {".fits", ".fit", ".fts", ".csv", ".txt", ".dat", ".tbl", ".ecsv", ".npz"}
_ENDINGS |= {".gz", ".bz2", ".xz", ".zip", ".z"}
_BLOCK = 2**20  # bytes that are read at a time

#: Options of a command that writes into a store, see `storing`.
STORING = (
    Option("store", Path, Path("survey"), "folder for the rows; a run that ended goes on there"),
    Option("shard", str, None, "part of the targets, such as 0/8, or slurm"),
    Option("retry", bool, False, "try again what failed before"),
    Option(
        "engine",
        one_of("threads", "processes", "dask"),
        "processes",
        "what does the work; threads take less memory",
    ),
    Option("table", table_file, None, "file for the table at the end, such as survey.ecsv"),
)


def storing(settings) -> dict[str, Any]:
    """The arguments of a survey that `STORING` stands for."""
    one = settings.engine == "processes" and min(cores(), len(settings.files)) < 2
    engine = None if one or settings.engine == "threads" else settings.engine
    place = {name: getattr(settings, name) for name in ("store", "shard", "retry")}
    return {**place, "engine": engine}


def deciding(settings, options, files: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of all options and priors that decide the rows, for a store's configuration.

    Those that may be ``files`` are told by what is in them.
    """
    own = {option.name for option in STORING}
    values = {o.name: getattr(settings, o.name) for o in options if o.name not in own}
    texts = {name: str(value) for name, value in values.items()}
    read = [name for name in files if Path(texts[name]).is_file()]
    texts |= {name: source_of(Path(texts[name])) for name in read}
    priors = sorted(f"{name}: {written_prior(prior)}" for name, prior in settings.priors.items())
    return texts | {"priors of the line": ", ".join(priors) or "none"}


def stem(name: str) -> str:
    """The name of a file without the endings of its format, and of what packed it."""
    while (path := Path(name)).suffix.lower() in _ENDINGS:
        name = path.stem
    return name


class FileTask(NamedTuple):
    """A task that reads a file, and says which file that is."""

    read: Callable[..., Any]
    path: Path
    settings: Any

    @property
    def source(self) -> str:
        """What tells the file from others; "" where it cannot be read."""
        try:
            return source_of(self.path)
        except OSError:
            return ""

    def __call__(self) -> Any:
        return self.read(self.path, self.settings)


def of_file(read: Callable[..., Any], path: Path, settings) -> FileTask:
    """A task of a file, told from others by its name and by what is in it."""
    return FileTask(read, path, settings)


def source_of(path: Path) -> str:
    """The name of a file, its length, and a check sum of all that is in it."""
    size, total = 0, 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            size, total = size + len(block), zlib.crc32(block, total)
    return f"{path.name} ({size} bytes, {total:08x})"


def by_name(files) -> dict[str, Path]:
    """Files by their names without endings; ValueError where two are alike."""
    found = {}
    for file in files:
        name = stem(file.name)
        if name in found:
            raise ValueError(f"{file} and {found[name]} have the same name: targets need their own")
        found[name] = file
    return found


def all_of(survey: Callable[[], Any]) -> tuple[Any, str]:
    """What a survey did, and why it could not keep all of it; "" where it could."""
    try:
        return survey(), ""
    except SurveyError as error:
        return error.survey, str(error)


def write_table(settings, table) -> None:
    """Write the table that is asked for, if one is, all of it or nothing."""
    if settings.table is not None:
        with whole_file(settings.table) as part:
            table.write(part, overwrite=True)


def finish(settings, failed, left, lost: str = "") -> None:
    """Say where all is; KeyboardInterrupt or ValueError where not all is done, or kept (lost)."""
    if settings.table is not None:
        print(f"table in {settings.table}")
    if lost:
        raise ValueError(lost)
    print(f"rows in {settings.store}")
    if left:
        raise KeyboardInterrupt
    if failed:
        raise ValueError(f"{len(failed)} have no fit ({', '.join(failed)}): see show, use --retry")


def _show(settings) -> None:
    """Print a store, or one target of it."""
    store = Store(settings.store)
    target = settings.target
    if target is not None and target not in store:
        own = stem(target)
        near = [own] if own in store else difflib.get_close_matches(target, list(store), n=2)
        meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"{settings.store} has no target {target!r}{meant}")
    if settings.report is not None:
        print(f"page in {report(store, settings.report, settings.target)}")
        return
    if settings.target is None:
        print(store)
        table = store.table()
        for column in table.itercols():
            if column.dtype.kind == "f":
                column.info.format = ".6g"
        table.pprint_all()
        for name, reason in store.failed.items():
            print(f"{name}: {reason}")
        return
    if settings.target in store.failed:
        print(f"{settings.target} failed: {store.failed[settings.target]}")
        return
    row, units = store.row(settings.target), store[settings.target].units
    for name, value in row.items():
        if isinstance(value, float):
            error = value if name.endswith("_error") else row.get(f"{name}_error")
            value = rounded(value, error if isinstance(error, float) else math.nan)
        print(f"{name:40s} {value} {units.get(name, '')}".rstrip())


SHOW = Command(
    "show",
    """What is in the store of a survey: all rows, or one target.

It is printed, or written as a page for the browser, with histograms of all values.""",
    _show,
    (
        Option("store", Path, Path("survey"), "the folder"),
        Option("target", str, None, "one of the targets"),
        Option("report", Path, None, "file for a page, such as survey.html"),
    ),
)
