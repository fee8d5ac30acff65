"""Console commands: settings of the line and of a file, checked before anything runs."""

import os
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpyro.distributions as dist
import pytest
from astropy.table import Table

from pytreefit.extend import (
    Command,
    Option,
    all_of,
    deciding,
    finish,
    number,
    one_of,
    prior_of,
    run_program,
    whole_number,
    write_table,
)
from pytreefit.options import Fixed, whole_file
from pytreefit.survey import SurveyError
from pytreefit.survey.commands import source_of

OPTIONS = (
    Option("days", number(0.0), None, "use the first days only"),
    Option("points", whole_number(10), 300, "number of points"),
    Option("knots", whole_number(2, even=True), 6, "free values"),
    Option("method", one_of("auto", "nuts"), "auto", "of sampling"),
    Option("verbose_output", bool, False, "say more"),
)


@pytest.fixture
def program(tmp_path):
    """Run a program on a line; its status, and the settings of the command."""
    file = tmp_path / "star.fits"
    file.write_text("")
    seen = []

    def run(line, does=seen.append):
        command = Command("fit", "Fits.", does, OPTIONS, "a file", priors="peq or inc")
        argv = [str(file) if word == "FILE" else word for word in line.split()]
        return run_program("prog", "About.", [command], argv)

    run.seen, run.folder = seen, tmp_path
    return run


def test_the_line_comes_before_the_file_and_the_file_before_the_defaults(program):
    config = program.folder / "own.toml"
    text = "points = 40\ndays = 12\nverbose_output = true\n[priors]\npeq = [1, 20]\n"
    config.write_text(text, encoding="utf-8-sig")  # as Notepad does
    line = f"fit FILE --config {config} --points 50 --prior inc=normal:1.2:0.1 --no-verbose-output"
    assert program(line) == 0
    (settings,) = program.seen
    assert (settings.points, settings.days, settings.method) == (50, 12.0, "auto")
    assert settings.verbose_output is False
    assert settings.priors["peq"] == (1.0, 20.0)
    assert float(settings.priors["inc"].scale) == pytest.approx(0.1)


def test_the_file_that_is_written_gives_the_same_settings(program, capsys):
    line = "fit --days 3.5 --prior peq=log:1:20 --prior inc=fixed --prior tau=2:3 --write-config"
    line += " --prior kappa=fixed:0.2 --prior lspot=normal:9:2"
    assert program(line) == 0
    assert program.seen == []
    config = program.folder / "written.toml"
    config.write_text(capsys.readouterr().out)
    assert tomllib.loads(config.read_text())["days"] == 3.5
    assert program(f"fit FILE --config {config}") == 0
    (settings,) = program.seen
    assert settings.days == 3.5
    assert settings.priors["inc"] is None
    assert settings.priors["tau"] == (2.0, 3.0)
    assert settings.priors["kappa"] == Fixed(0.2)
    assert (settings.priors["lspot"].loc, settings.priors["lspot"].scale) == (9.0, 2.0)
    assert isinstance(settings.priors["peq"], dist.LogUniform)
    first, *lines = settings.config.splitlines()
    assert lines == config.read_text().splitlines()[1:]
    assert first.startswith("# prog fit --config THIS_FILE ")
    assert first.endswith('star.fits"')


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("fit FILE --points 5", "--points: 5 must be at least 10"),
        ("fit FILE --points many", "--points: 'many' is no whole number"),
        ("fit FILE --knots 7", "--knots: 7 must be an even number of at least 2"),
        ("fit FILE --days -1", "--days: -1 must be above 0"),
        ("fit FILE --days nan", "--days: nan must be above 0"),
        ("fit FILE --method nutz", "did you mean 'nuts'?"),
        ("fit FILE --prior peq", "'peq' is not NAME=RANGE"),
        ("fit FILE --prior peq=5:1", "peq: '5:1' is no range"),
        ("fit FILE --prior peq=log:0:1", "is no range"),
        ("fit FILE --prior peq=normal:0:-1", "not positive"),
        ("fit FILE --prior peq=1:2:3", "is no prior"),
        ("fit FILE --prior peq=fixed:", "is no prior"),
        ("fit none.fits", "'none.fits' is no file"),
        ("fit FILE FILE", "takes one file, not 2"),
        ("fit", "give a file"),
        ("fit FILE --config none.toml", "none.toml"),
    ],
)
def test_wrong_lines_are_refused_before_anything_runs(program, capsys, line, says):
    with pytest.raises(SystemExit) as stopped:
        program(line)
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err
    assert program.seen == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pionts = 40", "'pionts' is no setting of fit; did you mean 'points'"),
        ("points = [40]", "points: [40] is not one value"),
        ("verbose_output = 1", "verbose_output: 1 is neither true nor false"),
        ("priors = 3", "priors is no table"),
        ("[priors]\npeq = 3", "3 is no prior"),
        ("points 40", "is no TOML file"),
    ],
)
def test_wrong_files_are_refused_before_anything_runs(program, capsys, text, says):
    config = program.folder / "own.toml"
    config.write_text(text)
    with pytest.raises(SystemExit):
        program(f"fit FILE --config {config}")
    err = capsys.readouterr().err
    assert says in err
    assert "own.toml" in err
    assert program.seen == []


def test_options_may_stand_between_files(tmp_path):
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file in files:
        file.touch()
    seen, (a, b, c) = [], map(str, files)
    command = Command("survey", "Fits all.", seen.append, OPTIONS, "files", many=True)
    for line in ([a, b, c, "--days", "2"], ["--days", "2", a, b, c], [a, "--days", "2", b, c]):
        assert run_program("prog", "About.", [command], ["survey", *line]) == 0
        assert seen[-1].files == files
        assert seen[-1].days == 2.0


def test_what_there_is_is_shown_without_a_command(program, capsys):
    assert program("") == 2
    assert "Fits." in capsys.readouterr().err
    for word, status in (("fot", 2), ("--help", 0)):
        with pytest.raises(SystemExit) as stopped:
            program(word)
        assert stopped.value.code == status
    assert "Fits." in capsys.readouterr().out


def test_the_status_says_how_it_ended(program, capsys):
    def fails(settings):
        raise ValueError("no light in it")

    def stops(settings):
        raise KeyboardInterrupt

    assert program("fit FILE", fails) == 1
    assert capsys.readouterr().err == "prog fit: no light in it\n"
    with pytest.raises(ValueError, match="no light"):
        program("fit FILE --debug", fails)
    assert program("fit FILE", stops) == 130


def test_priors_in_words():
    assert prior_of("1:20") == (1.0, 20.0)
    assert prior_of([1, 20]) == (1.0, 20.0)
    assert prior_of("fixed") is None
    log = prior_of("log:1:20")
    assert isinstance(log, dist.LogUniform)
    assert float(log.support.upper_bound) == 20.0


def test_arguments_of_python_are_said_as_options(program, capsys):
    def fails(settings):
        raise ValueError("No days are known: give days= a number, or method='nuts'.")

    assert program("fit FILE", fails) == 1
    said = capsys.readouterr().err
    assert said == "prog fit: No days are known: give --days a number, or --method 'nuts'.\n"

    def has_none(settings):
        raise ValueError("Give center=(x, y).")

    assert program("fit FILE", has_none) == 1
    assert "center=(x, y). (What has a = here is an argument in Python" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_warnings_are_sentences_without_a_line_of_code(program, capsys):
    assert program("fit FILE", lambda settings: warnings.warn("Few points=1.", stacklevel=1)) == 0
    assert capsys.readouterr().err == "prog fit: warning: Few --points 1.\n"


def test_the_help_names_the_choices(program, capsys):
    with pytest.raises(SystemExit):
        program("fit --help")
    assert "of sampling (auto or nuts; default: auto)" in capsys.readouterr().out


def test_tables_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "table.ecsv"
    settings = SimpleNamespace(table=path)
    write_table(settings, Table({"x": [1.0]}))
    before = path.read_bytes()

    class Broken:
        def write(self, name, overwrite):
            name.write_text("half a")
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_table(settings, Broken())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_told_apart_by_all_that_is_in_them(tmp_path):
    path = tmp_path / "map.fits"
    content = bytearray(3 * 2**20)
    path.write_bytes(content)
    first = source_of(path)
    content[len(content) // 2] = 1
    path.write_bytes(content)
    assert source_of(path) != first
    priors = {"peq": (1.0, 2.0), "inc": dist.TruncatedNormal(1.0, 0.5, low=0.0)}
    settings = SimpleNamespace(error=path, plane=None, priors=priors)
    options = [Option("error", Path, None, "map"), Option("plane", int, None, "plane")]
    known = {"error": source_of(path), "plane": "None"}
    known["priors of the line"] = 'inc: "normal:1.0:0.5", peq: [1.0, 2.0]'
    assert deciding(settings, options, ("error",)) == known
    assert deciding(settings, options)["error"] == str(path)
    assert source_of(path).startswith("map.fits (3145728 bytes, ")


def test_a_prior_that_is_given_twice_is_refused(program, capsys):
    with pytest.raises(SystemExit, match="2"):
        program("fit FILE --prior peq=1:2 --prior inc=fixed --prior peq=2:3")
    assert "argument --prior: peq has two" in capsys.readouterr().err


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "table.csv"
    with whole_file(path) as part:
        part.write_text("one")
    assert path.read_text() == "one"

    def fails():
        with whole_file(path) as part:
            part.write_text("two")
            raise OSError("no space")

    with pytest.raises(OSError, match=r"table\.csv cannot be written: no space"):
        fails()
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text() == "one"


def test_what_a_survey_could_not_keep_is_said_at_its_end(tmp_path):
    def full():
        raise SurveyError("2 rows could not be written", "the survey")

    assert all_of(full) == ("the survey", "2 rows could not be written")
    assert all_of(lambda: "done") == ("done", "")
    settings = SimpleNamespace(table=tmp_path / "t.csv", store="store")
    with pytest.raises(ValueError, match="2 rows could not be written"):
        finish(settings, [], [], "2 rows could not be written")


def test_what_is_printed_into_may_want_no_more(tmp_path):
    """As of `show | head`: in a process of its own, whose output nobody reads."""
    code = (
        "from pytreefit.extend import Command, run_program\n"
        "command = Command('say', 'Words.', lambda settings: print('word'), ())\n"
        "raise SystemExit(run_program('p', 'about', [command], ['say']))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
