"""Fits of many stars in a store: rows that depend on no other star."""

import numpy as np
import pytest

import spotgp
from pytreefit import survey
from spotgp.survey.stored import Work, by_name, common_length

T = np.sort(np.random.default_rng(1).uniform(0.0, 60.0, 62))
OPTIONS = {
    "priors": {"peq": (2.0, 12.0), "kappa": None, "inc": None, "lspot": (1.0, 9.0),
               "tau_spot": None},
    "starts": 1, "steps": 25, "progress": False,
}  # fmt: skip


def star_of(n, period, seed):
    noise = 1e-3 * np.random.default_rng(seed).normal(size=n)
    flux = 1.0 + 0.01 * np.sin(2.0 * np.pi * T[:n] / period) + noise
    return spotgp.TimeSeriesData(T[:n], flux, 1e-3, name=f"star {seed}")


def broken():
    raise OSError("no such file")


STARS = {"a": star_of(62, 4.0, 0), "b": star_of(58, 6.0, 1), "c": star_of(60, 5.0, 2)}


def same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value == other[name] or (value != value and other[name] != other[name]), name


@pytest.fixture(scope="module")
def stored(star, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stars") / "store"
    stars = {**STARS, "d": broken}
    return folder, spotgp.fit_many(stars, star, store=folder, keep_fits=True, **OPTIONS)


def test_rows_do_not_depend_on_other_stars(stored, star, tmp_path):
    folder, _ = stored
    whole = survey.Store(folder)
    for names in ("c", "bac"):  # killed after one, and in another order
        again = {name: STARS[name] for name in names}
        spotgp.fit_many(again, star, store=tmp_path / "other", **OPTIONS)
    other = survey.Store(tmp_path / "other")
    assert whole.names == other.names == ("a", "b", "c")
    for name in whole.names:
        same(whole.row(name), other.row(name))
    assert whole.failed == {"d": "OSError: no such file"}


def test_what_is_in_the_store_comes_back_without_a_fit(stored, star, monkeypatch):
    folder, first = stored

    def refused(*args):
        raise AssertionError("fitted again")

    monkeypatch.setattr("spotgp.survey.stored.fitted", refused)
    stars = {**dict.fromkeys("abc", refused), "d": broken}
    again = spotgp.fit_many(stars, star, store=folder, **OPTIONS)
    assert [fit.name for fit in again] == list("abcd")
    assert again.failed == (3,)
    assert again.left == ()
    assert again[3].message == "OSError: no such file"
    for one, other in zip(again, first, strict=True):
        assert dict(one.values) == dict(other.values)
        assert one.errors == other.errors
        assert (one.flags, one.at_bound, one.points) == (other.flags, other.at_bound, other.points)
    assert again.table().rows == first.table().rows
    columns = again.to_astropy()
    assert columns.colnames == first.to_astropy().colnames
    assert str(columns["peq"].unit) == "d"
    assert "compilation" not in repr(again)


def test_whole_fits_are_kept_on_request(stored, star):
    folder, first = stored
    kept = spotgp.fit_many({**STARS, "d": broken}, star, store=folder, keep_fits=True, **OPTIONS)
    for name, fit in zip("abc", kept, strict=False):
        assert fit.fit is not None
        assert fit.rotation.period == survey.Store(folder).row(name)["rotation_period"]
        assert fit.laplace.covariance.shape == (len(fit.values),) * 2
        assert fit.fit.converged == first["abc".index(name)].fit.converged


def test_the_period_is_right_and_close_to_that_without_a_store(stored):
    _, found = stored
    for fit, truth in zip(found, (4.0, 6.0, 5.0), strict=False):
        assert abs(fit.effective_period / truth - 1.0) < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": 50}, r"begun with points = None, and this run has 50"),
        ({"priors": {"peq": (2.0, 13.0)}}, r"begun with priors = .*peq': \(2.0, 12.0\)"),
        ({"steps": 30}, "steps = 25, and this run has 30"),
        ({"jitter": np.median}, "begun with jitter = 0.0, and this run has"),
        ({"trend": 1}, "begun with options"),
    ],
)
def test_another_configuration_is_refused(stored, star, change, message):
    with pytest.raises(ValueError, match=message):
        spotgp.fit_many(STARS, star, store=stored[0], **{**OPTIONS, **change})


def test_another_model_is_refused(stored, star):
    other = star.set({"envelope.lspot": 2.5})
    with pytest.raises(ValueError, match=r"with model = .*lspot.: 6.0.* run has .*lspot.: 2.5"):
        spotgp.fit_many(STARS, other, store=stored[0], **OPTIONS)


def test_names(star, tmp_path):
    assert list(by_name(list(STARS.values()))) == ["star 0", "star 1", "star 2"]
    for stars, message in (
        ([broken], r"stars\[0\] has no name: .* needs one of its own"),
        ([STARS["a"]] * 2, r"stars\[1\] has a name twice"),
        ({}, "stars is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            spotgp.fit_many(stars, star, store=tmp_path, **OPTIONS)
    failed = spotgp.fit_many({"mine": broken}, star, progress=False)
    assert failed[0].name == "mine"
    assert list(tmp_path.iterdir()) == []


def test_lengths_in_common_are_few_and_near():
    lengths = np.arange(1, 5000)
    common = np.array([common_length(int(n)) for n in lengths])
    assert np.all(common >= lengths)
    assert np.all(common[8:] <= 1.25 * lengths[8:])
    assert len(set(common[common > 64])) == 4 * 6 + 1
    assert common_length(0) == 0
    assert [common_length(int(n)) for n in common] == list(common)


def test_what_decides_the_rows_is_told(star):
    work = Work((star, {"peq": (1.0, 2.0)}, 0.0, None, {}), (4, 200, True), False)
    told = work.configuration()
    assert told["priors"] == "{'peq': (1.0, 2.0)}"
    assert told["model"].startswith("SpotEvolutionModel")
