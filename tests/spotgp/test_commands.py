"""The program ``spotgp``: a star is simulated into a file and found in it again."""

import argparse
import bz2
import contextlib
import gzip
import lzma
from types import SimpleNamespace

import numpy as np
import numpyro.distributions as dist
import pytest
from astropy.table import QTable

import pytreefit
import spotgp
from pytreefit.extend import new_folder, prior_limits, prior_of
from pytreefit.survey import Store
from spotgp.commands import main
from spotgp.commands.fit import check_priors, doubts, kind_of, process_of, read

STAR = "--period 4 --days 40 --cadence 480 --lifetime 10 --growth 3 --noise 3e-4 --seed 2"


@pytest.fixture(autouse=True)
def without_cache(monkeypatch):
    monkeypatch.setattr("spotgp.commands.program.cache_programs", lambda: None)


@pytest.fixture
def star(tmp_path):
    path = tmp_path / "star.ecsv"
    assert main(["simulate", *STAR.split(), "--output", str(path)]) == 0
    return path


@pytest.mark.slow  # `make examples` runs it on real data
def test_from_a_file_to_a_posterior(star, tmp_path, capsys):
    line = ["fit", str(star), "--points", "60", "--starts", "1", "--method", "mixture"]
    folder = tmp_path / "out"
    assert main([*line, "--output", str(folder), "--prior", "kappa=fixed"]) == 0
    said = capsys.readouterr().out
    for word in ("RotationPeriod", "Pareto k", "effective", "figures and draws in"):
        assert word in said
    own = folder / "star"
    found = {path.name for path in own.iterdir()}
    figures = ("light_curve", "check", "kernel", "psd", "periods", "corner")
    assert found == {"samples.npz", "settings.toml", *(f"{name}.png" for name in figures)}
    samples = pytreefit.Samples.load(own / "samples.npz")
    period = np.ravel(samples.draws["model.visibility.peq"])
    assert abs(np.median(period) - 4.0) < 4.0 * np.std(period)
    assert "model.visibility.kappa" not in samples.draws
    # the settings are those of the run
    assert main(["fit", str(star), "--config", str(own / "settings.toml"), "--write-config"]) == 0
    assert capsys.readouterr().out == (own / "settings.toml").read_text()


def test_what_is_simulated_has_the_noise_that_it_says(star):
    table = QTable.read(star)
    assert len(table) == 120
    assert np.all(table["flux_err"] == 3e-4)
    data = read(star, SimpleNamespace(flux=None, columns=None, quality="default", days=20.0))
    assert data.span < 20.0
    assert abs(np.median(data.flux) - 1.0) < 1e-12


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--prior peg=1:20", "did you mean 'peq'?"),
        ("--prior inc=1:4", "inc: 1 to 4 is not within what is possible, [0, 3.14159] rad"),
        ("--prior peq=fixed:0", "visibility.peq = 0 is not in"),
        ("--flux none", "none"),
        ("--quality hard", "--quality is not for text files"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(star, tmp_path, capsys, line, says):
    assert main(["fit", str(star), "--output", str(tmp_path), *line.split()]) == 1
    said = capsys.readouterr().err
    assert said.startswith("spotgp fit: ")
    assert says in said


def test_arrays_that_are_missing_are_named(tmp_path, capsys):
    path = tmp_path / "star.npz"
    np.savez(path, time=np.arange(5.0), flux=np.ones(5))
    assert main(["fit", str(path), "--output", str(tmp_path)]) == 1
    assert "has no array flux_err" in capsys.readouterr().err


def test_a_survey_keeps_what_failed_and_show_tells(tmp_path, capsys):
    broken = tmp_path / "broken.fits"
    broken.write_bytes(b"no FITS file")
    store = str(tmp_path / "store")
    line = ["survey", str(broken), "--store", store]
    assert main(line) == 1
    assert "1 have no fit (broken)" in capsys.readouterr().err
    assert main(["show", "--store", store]) == 0
    assert "1 failed" in capsys.readouterr().out
    assert main(["show", "--store", store, "--target", "broken"]) == 0
    assert "broken failed: " in capsys.readouterr().out
    assert main(["show", "--store", store, "--target", "other"]) == 1
    assert "has no target 'other'\n" in capsys.readouterr().err
    for more in ([], ["--report", str(tmp_path / "page.html")]):
        assert main(["show", "--store", store, "--target", "broken.fits", *more]) == 1
        assert "did you mean 'broken'?" in capsys.readouterr().err
    # other settings are other rows
    assert main([*line, "--points", "50"]) == 1
    assert "points" in capsys.readouterr().err
    assert main(["show", "--store", str(tmp_path / "none")]) == 1
    twice = tmp_path / "other"
    twice.mkdir()
    (twice / "broken.fits").write_bytes(b"")
    assert main(["survey", str(broken), str(twice / "broken.fits"), "--store", store]) == 1
    assert "same name" in capsys.readouterr().err


def test_columns_without_names_are_named_on_the_line(tmp_path, capsys):
    path = tmp_path / "plain.txt"
    table = np.stack([np.arange(20.0), np.linspace(0.9, 1.1, 20), np.full(20, 0.01)], axis=1)
    np.savetxt(path, table)
    assert main(["fit", str(path), "--output", str(tmp_path)]) == 1
    assert "Give all columns such names with --columns" in capsys.readouterr().err
    columns = ("time", "flux", "flux_err")
    settings = SimpleNamespace(flux=None, columns=columns, quality="default", days=None)
    data = read(path, settings)
    np.testing.assert_allclose(data.flux, table[:, 1] / np.median(table[:, 1]))


def test_what_speaks_against_a_period():
    peq, prior = np.linspace(1.0, 9.0, 200), {"model.visibility.peq": dist.Uniform(1.0, 9.0)}
    gp = SimpleNamespace(posterior=SimpleNamespace(priors=prior))
    rotation = SimpleNamespace(flags=("an alias of a day",))
    wide, narrow = (
        SimpleNamespace(draws={"model.visibility.peq": x}) for x in (peq, 5.0 + 0.1 * (peq - 5.0))
    )
    others = {"effective": peq, "Lomb-Scargle": (5.1, 0.1), "autocorrelation": (np.nan, np.nan)}
    assert doubts(rotation, gp, narrow, others) == ["an alias of a day"]
    found = doubts(rotation, gp, wide, others)
    assert found[1] == "its posterior is hardly narrower than its prior"
    fixed, quiet = SimpleNamespace(draws={}), SimpleNamespace(flags=())
    assert doubts(quiet, gp, fixed, others) == []
    found = doubts(quiet, gp, fixed, others | {"autocorrelation": (2.512, 0.1)})
    assert found == ["autocorrelation finds 2.51 d"]


def test_the_first_guess_is_moved_into_the_priors():
    # spots that are gone within a fifth of the longest period that is likely
    t = np.arange(0.0, 80.0, 0.5)
    rng = np.random.default_rng(3)
    quick = np.convolve(rng.normal(size=t.size), np.ones(3) / 3.0, "same")
    flux = 1.0 + 2e-4 * quick + 1e-3 * np.sin(2.0 * np.pi * t / 33.0)
    data = spotgp.TimeSeriesData(t, flux, 1e-4)
    rotation = data.rotation_period()
    own = {"inc": (0.2, 0.4), "model.visibility.kappa": (0.2, 0.3), "jitter": (1e-6, 1e-5)}
    for priors in ({}, own, {"tau_spot": (30.0, 40.0), "kappa": None}):
        gp = process_of(data, rotation, argparse.Namespace(points=40, priors=priors))
        assert np.isfinite(gp.log_posterior())
    assert 0.2 < float(process_of(data, rotation, argparse.Namespace(
        points=40, priors=own)).process.model.inc) < 0.4  # fmt: skip


def test_a_prior_of_the_period_moves_the_others(star):
    data = read(star, argparse.Namespace(flux=None, columns=None, quality="default", days=None))
    rotation = data.rotation_period()
    own = 0.7 * rotation.period, 1.4 * rotation.period
    normal = dist.TruncatedNormal(150.0, 4.0, low=0.0)
    for prior, low, high in (
        ((100.0, 200.0), 100.0, 200.0), (normal, 130.0, 170.0), (None, *own)
    ):  # fmt: skip
        settings = argparse.Namespace(points=40, priors={"peq": prior} if prior else {})
        gp = process_of(data, rotation, settings)
        shortest, _ = prior_limits(gp.posterior.priors["model.envelope.lspot"])
        assert low < float(gp.process.model.peq) < high
        assert low < shortest < high


def test_results_are_written_over_no_others(tmp_path):
    folders = []
    for _ in range(3):
        folders.append(new_folder(tmp_path / "star"))
        (folders[-1] / "samples.npz").touch()
    assert [folder.name for folder in folders] == ["star", "star_2", "star_3"]


def test_normal_priors_end_at_bounds_and_fixed_values_are_kept(star):
    data = read(star, argparse.Namespace(flux=None, columns=None, quality="default", days=None))
    given = {
        "inc": "normal:1.2:0.3",
        "model.visibility.kappa": "fixed:0",
        "jitter": "normal:1e-4:1e-5",
    }
    settings = argparse.Namespace(points=40, priors={n: prior_of(p) for n, p in given.items()})
    check_priors(settings)
    gp = process_of(data, data.rotation_period(), settings)
    assert float(gp.process.model.kappa) == 0.0
    assert "model.visibility.kappa" not in gp.posterior.priors
    low, high = prior_limits(gp.posterior.priors["model.visibility.inc"])
    assert (low, high) == (0.0, pytest.approx(np.pi))
    assert prior_limits(gp.posterior.priors["jitter"]) == (0.0, np.inf)
    assert np.isfinite(gp.log_posterior())


FIRST = {"fits": b"SIMPLE  =                    T", "arrays": b"PK\x03\x04..", "text": b"time,flux"}


@pytest.mark.parametrize(
    ("name", "packed", "kind"),
    [
        ("a.fits", bytes, "fits"),
        ("A.FIT.GZ", gzip.compress, "fits"),
        ("a.fts.bz2", bz2.compress, "fits"),
        ("without an ending", bytes, "fits"),
        ("a.NPZ", bytes, "arrays"),
        ("my.fitted.csv", bytes, "text"),
        ("a.fits.txt", bytes, "text"),
        ("a.csv.xz", lzma.compress, "text"),
    ],
)
def test_files_are_told_apart_by_their_first_bytes(tmp_path, name, packed, kind):
    path = tmp_path / name
    path.write_bytes(packed(FIRST[kind]))
    assert kind_of(path) == kind


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.fits", b"time,flux", "is none of the FITS files, as its name says"),
        ("a.npz", b"time,flux", "is none of the arrays of NumPy, as its name says"),
        ("a.fits", FIRST["fits"] + 60 * b" ", "cannot be read"),
        ("a.npz", FIRST["arrays"], "cannot be read"),
        ("a.csv", b"time,flux\n1,2\nx,\xff", "cannot be read"),
    ],
)
def test_damaged_files_are_named(tmp_path, capsys, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    assert main(["fit", str(path), "--output", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert name in told
    assert "argument in Python" not in told


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        ("peq=log:1:inf", "must have finite numbers"),
        ("peq=normal:nan:1", "must have finite numbers"),
        ("peq=normal:-40:0.1", "peq: -40 +- 0.1 is not within what is possible, (0, inf) d"),
        ("inc=60:80", "inc: 60 to 80 is not within what is possible, [0, 3.14159] rad"),
        ("perod=1:2", "'perod' is none of"),
    ],
)
def test_priors_that_cannot_be(star, tmp_path, capsys, prior, said):
    line = ["fit", str(star), "--prior", prior, "--output", str(tmp_path / "out")]
    with contextlib.suppress(SystemExit):  # of what is wrong already on the line
        assert main(line) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(star, capsys):
    before = star.read_bytes()
    assert main(["simulate", "--days", "5", "--output", str(star)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert star.read_bytes() == before


def test_tables_that_cannot_be_written_are_refused_at_once(star, tmp_path, capsys):
    for name in ("t.txt", "t.xlsx", "nowhere/t.ecsv"):
        with pytest.raises(SystemExit):
            main(["survey", str(star), "--table", str(tmp_path / name)])
        assert "argument --table" in capsys.readouterr().err


def test_priors_of_a_survey(star, tmp_path, capsys):
    line = ["survey", str(star), "--points", "40", "--starts", "1", "--engine", "threads"]
    line += ["--store", str(tmp_path / "store")]
    own = ["--prior", "inc=fixed:1.2", "--prior", "peq=3.5:4.6"]
    assert main([*line, *own]) == 0
    row = Store(tmp_path / "store").row("star")
    assert 3.5 < row["model.visibility.peq"] < 4.6
    assert "model.visibility.inc" not in row
    capsys.readouterr()
    assert main(line) == 1  # other priors are another survey
    assert "priors" in capsys.readouterr().err


def test_what_a_survey_cannot_fix_and_where_its_jitter_starts(star, tmp_path, capsys):
    line = ["survey", str(star), "--points", "40", "--starts", "1", "--engine", "threads"]
    line += ["--store", str(tmp_path / "store")]
    assert main([*line, "--prior", "sigma_k=fixed"]) == 1
    assert "give --prior sigma_k=fixed:VALUE" in capsys.readouterr().err
    assert main([*line, "--prior", "jitter=1e-6:1e-5"]) == 0  # the stated errors are larger
    assert 1e-6 <= Store(tmp_path / "store").row("star")["jitter"] <= 1e-5
