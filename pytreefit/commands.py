"""Console commands: options that a TOML file may hold too, and errors that are sentences.

A program is a list of `Command`; `run_program` parses the line, reads the file, checks everything
before anything runs, and returns the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

import argparse
import contextlib
import json
import os
import re
import sys
import tomllib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .options import PRIORS, did_you_mean, existing_file, prior_of, written_prior

_INTERRUPTED = 130


class Option(NamedTuple):
    """One setting, ``--some-name`` on the line and ``some_name`` in the file.

    Parameters
    ----------
    name
        In the file, with underscores.
    kind
        Turns text into the value, ValueError with a sentence for what it refuses; ``bool`` makes a
        switch.
    default
        None where there is none.
    help
        One line.
    """

    name: str
    kind: Callable[[str], Any]
    default: Any
    help: str

    @property
    def flag(self) -> str:
        """On the line."""
        return f"--{self.name.replace('_', '-')}"

    def value(self, given: Any) -> Any:
        """What text, or a value of the file, stands for."""
        if self.kind is bool:
            if not isinstance(given, bool):
                raise ValueError(f"{given!r} is neither true nor false")
            return given
        if isinstance(given, bool | list | dict):
            raise ValueError(f"{given!r} is not one value")
        return self.kind(str(given))


class Command(NamedTuple):
    """One thing that a program does.

    Parameters
    ----------
    name
        By which it is called.
    help
        What it does; its first line is in the program's own help.
    run
        Function of the settings: a namespace with the names of the options, ``files``, ``priors``
        and ``config``, the text of a file with all of these.
    options
        All `Option`.
    files
        What the files are, in a word; "" where there are none.
    many
        Whether there may be several files.
    priors
        What priors are called, for ``--prior NAME=RANGE``; "" where there are none.
    """

    name: str
    help: str
    run: Callable[[argparse.Namespace], None]
    options: tuple[Option, ...]
    files: str = ""
    many: bool = False
    priors: str = ""


def run_program(
    program: str, about: str, commands: Sequence[Command], argv: Sequence[str] | None = None
) -> int:
    """Run one of several commands, and return the exit status of the program.

    Parameters
    ----------
    program
        Its name.
    about
        What it is for.
    commands
        What it can do.
    argv
        What stands on the line after the program's name; by default that of this process.
    """
    parser = argparse.ArgumentParser(program, description=about)
    several = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    by_name = {command.name: _add(several, command) for command in commands}
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv:
        parser.print_help(sys.stderr)
        return 2
    if argv[0] not in by_name:
        parser.parse_args(argv[:1])  # exits, with what there is
    command, own = by_name[argv[0]]
    given = vars(own.parse_intermixed_args(argv[1:]))  # options also between files
    try:
        settings = _settings(command, given)
    except (ValueError, OSError) as error:
        own.error(str(error))  # exits with 2
    settings.config = _config(program, command, settings)
    if given.get("write_config"):
        print(settings.config, end="")
        return 0
    if command.files and not settings.files:
        own.error(f"give {command.files}")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _teller(program, command, warnings.showwarning)
            command.run(settings)
        sys.stdout.flush()
    except BrokenPipeError:  # what it prints into wants no more; nor at the end of the process
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"{program} {command.name}: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        if given.get("debug"):
            raise
        print(f"{program} {command.name}: {_for_the_line(str(error), command)}", file=sys.stderr)
        return 1
    return 0


def _teller(program: str, command: Command, otherwise: Callable[..., None]):
    """A `warnings.showwarning` that prints the sentences of this library without their place."""

    def show(message, category, *place, **more):
        if issubclass(category, UserWarning):
            text = _for_the_line(str(message), command)
            print(f"{program} {command.name}: warning: {text}", file=sys.stderr)
        else:
            otherwise(message, category, *place, **more)

    return show


def _for_the_line(text: str, command: Command) -> str:
    """A sentence that names arguments of Python, with the options that stand for them."""
    for option in command.options:
        text = re.sub(rf"\b{option.name}=(?: ?(?=[\w(\"']))", f"{option.flag} ", text)
        text = re.sub(rf"\b{option.name}=", option.flag, text)
    if re.search(r"\b[a-z]\w*=[^=]", text):
        text += " (What has a = here is an argument in Python; the command has no option for it.)"
    return text


def _add(several, command: Command):
    """The command, and its own parser."""
    parser = several.add_parser(
        command.name,
        help=command.help.splitlines()[0],
        description=command.help,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        usage=f"%(prog)s [OPTIONS] {'FILE' + ' ...' * command.many if command.files else ''}",
    )
    if command.files:
        parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help=command.files)
    for option in command.options:
        shown = [" or ".join(getattr(option.kind, "choices", ()))]
        if option.default is not None and option.kind is not bool:
            shown.append(f"default: {option.default}")
        shown = "; ".join(filter(None, shown))
        how = {"dest": option.name, "help": option.help + (shown and f" ({shown})")}
        if option.kind is bool:
            parser.add_argument(option.flag, action=argparse.BooleanOptionalAction, **how)
        else:
            parser.add_argument(option.flag, metavar="VALUE", **how)
    if command.priors:
        parser.add_argument(
            "--prior",
            action="append",
            metavar="NAME=RANGE",
            help=f"of {command.priors}: NAME={PRIORS}",
        )
    parser.add_argument("--config", type=Path, metavar="TOML", help="file with these settings")
    parser.add_argument(
        "--write-config", action="store_true", help="print such a file, and do nothing else"
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return command, parser


def _settings(command: Command, given: dict[str, Any]) -> argparse.Namespace:
    """All settings: the defaults, what the file has, and what the line has."""
    values = {option.name: option.default for option in command.options}
    priors: dict[str, Any] = {}
    if "config" in given:
        in_file, in_table = _read(command, given["config"])
        values |= in_file
        priors |= in_table
    for option in command.options:
        if option.name in given:
            try:
                values[option.name] = option.value(given[option.name])
            except ValueError as error:
                raise ValueError(f"argument {option.flag}: {error}") from None
    named = set()
    for text in given.get("prior", ()):
        name, equals, rest = text.partition("=")
        if not equals:
            raise ValueError(f"argument --prior: {text!r} is not NAME=RANGE")
        if name in named:
            raise ValueError(f"argument --prior: {name} has two")
        named.add(name)
        try:
            priors[name] = prior_of(rest)
        except ValueError as error:
            raise ValueError(f"argument --prior: {name}: {error}") from None
    files = given.get("files", [])
    if len(files) > 1 and not command.many:
        raise ValueError(f"takes one file, not {len(files)}: {', '.join(map(str, files))}")
    for file in files:
        existing_file(str(file))
    return argparse.Namespace(files=files, priors=priors, **values)


def _read(command: Command, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and priors of a file; ValueError with its name for what is none of them."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from None
    options = {option.name: option for option in command.options}
    names = [*options, *(["priors"] if command.priors else [])]
    values, priors = {}, {}
    for name, value in found.items():
        if name not in names:
            raise ValueError(
                f"{path}: {name!r} is no setting of {command.name}{did_you_mean(name, names)}"
            )
        if name == "priors" and not isinstance(value, dict):
            raise ValueError(f"{path}: priors is no table [priors]")
        try:
            if name == "priors":
                priors = {key: prior_of(prior) for key, prior in value.items()}
            else:
                values[name] = options[name].value(value)
        except ValueError as error:
            raise ValueError(f"{path}: {name}: {error}") from None
    return values, priors


def _config(program: str, command: Command, settings: argparse.Namespace) -> str:
    """The settings as a file that says what each of them is."""
    files = " ".join(json.dumps(str(file)) for file in getattr(settings, "files", ()))
    files = files or "FILE" * bool(command.files)
    lines = [f"# {program} {command.name} --config THIS_FILE {files}", ""]
    for option in command.options:
        value = getattr(settings, option.name)
        lines.append(f"# {option.help}")
        written = "" if value is None else _toml(value)
        lines += [f"{'# ' if value is None else ''}{option.name} = {written}", ""]
    if command.priors:
        lines += [
            f"# of {command.priors}:",
            '# name = [LOW, HIGH], "log:LOW:HIGH", "normal:MEAN:SD", "fixed:VALUE" or "fixed"',
            "[priors]",
            *(f"{json.dumps(k)} = {written_prior(prior)}" for k, prior in settings.priors.items()),
        ]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
