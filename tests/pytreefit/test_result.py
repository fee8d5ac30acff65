"""Results made by hand: tables, diagnostics, models, files, other packages."""

import dataclasses
import sys
import types
import warnings

import jax
import jax.numpy as jnp
import matplotlib.figure
import matplotlib.pyplot as plt
import numpy as np
import pytest

from pytreefit import Fit, Model, Samples, load, param, save
from pytreefit.table import rounded


class Phase(Model):
    values: jax.Array = param(shape=None)


class Disk(Model):
    radius: jax.Array = param(unit="au", label="$r_0$")
    inner: jax.Array = param(unit="au", default=1.0)
    outer: jax.Array = param(unit="au", default=1.0)
    phase: Phase = Phase([0.0, 0.0, 0.0])


class Pair(Model):
    one: Disk
    two: Disk


def double(disk):
    return 2.0 * disk.radius


def make(chains=4, draws=250, offset=0.0, diverging=0, links=False):
    rng = np.random.default_rng(0)
    centres = np.array([0.0, 10.0, 1000.0])
    shift = offset * np.arange(chains)[:, None]
    flags = np.zeros((chains, draws), bool)
    flags[0, :diverging] = True
    return Samples(
        draws={
            "radius": jnp.asarray(77.0 + 0.01 * (rng.normal(size=(chains, draws)) + shift)),
            "phase.values": jnp.asarray(rng.normal(size=(chains, draws, 3)) + centres),
        },
        log_density=jnp.asarray(rng.normal(size=(chains, draws))),
        diverging=jnp.asarray(flags),
        acceptance=jnp.full((chains, draws), 0.8),
        tree_depth=jnp.full((chains, draws), 3),
        leapfrogs=jnp.full((chains, draws), 7),
        jumps=jnp.zeros((chains, draws), int),
        step_size=0.7,
        model=Disk(70.0),
        paths=(("radius", "inner"), ("phase.values",)),
        links={"outer": double} if links else {},
        link_paths=("outer",) if links else (),
        seconds_compile=5.0,
        seconds_warmup=1.0,
        seconds_sampling=3.0,
    )


def test_the_summary_lists_every_number():
    table = make().summary()
    assert table.columns == (
        "parameter", "median", "-", "+", "mean", "std", "R-hat", "ESS", "unit",
    )  # fmt: skip
    assert [row[0] for row in table] == ["radius", *(f"phase.values[{i}]" for i in range(3))]
    _, median, below, above, mean, std, rhat, ess, unit = table[0]
    assert (float(median), float(mean)) == pytest.approx((77.0, 77.0), abs=2e-3)
    assert (float(below), float(above), float(std)) == pytest.approx((0.01,) * 3, rel=0.15)
    assert len(median.partition(".")[2]) == 4  # two digits of the uncertainty
    assert 0.99 < float(rhat) < 1.01
    assert 500 < float(ess) < 2000
    assert unit == "au"
    assert float(table[3][1]) == pytest.approx(1000.0, abs=0.2)


def test_numbers_are_rounded_by_their_width():
    samples = make()
    for scale in (1e-8, 1e-3, 1.0, 1e3, 1e12):
        draws = {**samples.draws, "radius": scale * samples.draws["radius"]}
        row = Samples(**{**fields(samples), "draws": draws}).summary()[0]
        np.testing.assert_allclose(float(row[1]), 77.0 * scale, rtol=1e-4)
        np.testing.assert_allclose(float(row[5]), 0.01 * scale, rtol=0.15)


@pytest.mark.parametrize(
    ("value", "width", "text"),
    [
        (0.237773, 1.7e-5, "0.237773"),
        (0.0, 1e-3, "0.0000"),
        (2459000.12345, 1e-6, "2459000.1234500"),
        (1.5e-7, 1e-9, "1.500e-07"),
        (123456.7, 2e5, "123457"),
    ],
)
def test_a_number_is_written_without_an_exponent_where_that_is_short(value, width, text):
    assert rounded(value, width) == text


def fields(samples):
    return {name: getattr(samples, name) for name in samples.__dataclass_fields__}


def test_diagnostics_by_name():
    samples = make()
    assert samples.rhat["radius"].shape == ()
    assert samples.ess["phase.values"].shape == (3,)
    np.testing.assert_allclose(
        samples.ess_per_second["radius"], samples.ess["radius"] / 4.0, rtol=1e-12
    )
    assert samples.seconds == 4.0
    assert samples.divergences == 0
    assert samples.names == ("radius", "phase.values")
    assert samples.units == {"radius": "au", "phase.values": ""}


def test_it_prints_as_a_table():
    samples = make()
    text = repr(samples)
    assert "4 chains of 250 draws, 0 divergences, 7.0 gradients per draw, 4.0 s" in text
    assert "phase.values[2]" in text
    assert "<td>phase.values[2]</td>" in samples._repr_html_()


def test_good_chains_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().warn()


def test_bad_chains_are_warned_of():
    with pytest.warns(UserWarning, match=r"R-hat is above 1.01 for radius \(\d"):
        make(offset=1.0).warn()
    with pytest.warns(UserWarning, match="3 of 1000 trajectories diverged: the draws may miss"):
        make(diverging=3).warn()


def test_a_stuck_chain_is_warned_of():
    samples = make()
    stuck = {**samples.draws, "radius": jnp.full((4, 250), 77.0)}
    with pytest.warns(UserWarning, match=r"for radius \(nan\)"):
        Samples(**{**fields(samples), "draws": stuck}).warn()


def test_models_carry_ties_and_links():
    samples = make(links=True)
    models = samples.models()
    radius = np.ravel(samples.draws["radius"])
    np.testing.assert_array_equal(models.radius, radius)
    np.testing.assert_array_equal(models.inner, radius)
    np.testing.assert_array_equal(models.outer, 2 * radius)
    assert models.phase.values.shape == (1000, 3)
    few = samples.models(11)
    np.testing.assert_array_equal(few.radius[jnp.array([0, 10])], radius[[0, -1]])
    random = samples.models(50, jax.random.key(0))
    assert len(np.unique(random.radius)) == 50
    with pytest.raises(ValueError, match="n = 1001 must be between 1 and the number of draws"):
        samples.models(1001)


def test_results_are_saved_and_loaded(tmp_path):
    samples = make(links=True, diverging=2)
    samples.save(tmp_path / "samples.npz")
    loaded = Samples.load(tmp_path / "samples.npz")
    assert loaded.names == samples.names
    assert repr(loaded) == repr(samples)
    for name in samples.names:
        np.testing.assert_array_equal(loaded.draws[name], samples.draws[name])
    np.testing.assert_array_equal(loaded.diverging, samples.diverging)
    with pytest.raises(ValueError, match="links of outer are functions, which are not saved"):
        loaded.models()
    make().save(tmp_path / "samples.npz")
    assert load(tmp_path / "samples.npz").models(3).radius.shape == (3,)
    save(tmp_path / "model.npz", Disk(1.0))
    with pytest.raises(ValueError, match="holds a Disk, not Samples"):
        Samples.load(tmp_path / "model.npz")
    assert not isinstance(loaded, Fit)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_arviz_takes_the_draws():
    pytest.importorskip("arviz")
    tree = make(diverging=2).to_arviz()
    assert tree.posterior["phase.values"].shape == (4, 250, 3)
    assert int(tree.sample_stats["diverging"].sum()) == 2
    assert set(tree.sample_stats) == {
        "lp", "diverging", "acceptance_rate", "tree_depth", "n_steps",
    }  # fmt: skip


def test_arviz_from_version_one_on_takes_groups(monkeypatch):
    fake = types.ModuleType("arviz")
    fake.__version__ = "1.2.0"
    fake.from_dict = lambda groups: groups
    monkeypatch.setitem(sys.modules, "arviz", fake)
    groups = make().to_arviz()
    assert set(groups) == {"posterior", "sample_stats"}
    assert groups["posterior"]["radius"].shape == (4, 250)


def test_corner_plots_every_number():
    pytest.importorskip("corner")
    figure = make().corner()
    assert isinstance(figure, matplotlib.figure.Figure)
    assert len(figure.axes) == 16
    assert figure.axes[12].get_xlabel() == "$r_0$ [au]"
    plt.close(figure)
    figure = make().corner(["phase.values"], quantiles=None)
    assert len(figure.axes) == 9
    plt.close(figure)
    with pytest.raises(ValueError, match=r"no draws of g: there are of radius, phase\.values"):
        make().corner(["g"])


def test_trace_plots_every_number():
    figure = make().trace()
    assert len(figure.axes) == 8
    assert figure.axes[0].get_xlabel() == "$r_0$ [au]"
    assert figure.axes[6].get_xlabel() == "phase.values[2]"
    assert len(figure.axes[1].lines) == 4
    plt.close(figure)


def test_figures_tell_parameters_of_one_label_apart():
    rng = np.random.default_rng(1)
    samples = dataclasses.replace(
        make(),
        draws={
            name: jnp.asarray(rng.normal(size=(4, 250))) for name in ("one.radius", "two.radius")
        },
        model=Pair(Disk(70.0), Disk(30.0)),
        paths=(("one.radius",), ("two.radius",)),
    )
    figure = samples.trace()
    drawn = [axes.get_xlabel() for axes in figure.axes[:-1:2]]
    assert drawn == ["$r_0$ (one.radius) [au]", "$r_0$ (two.radius) [au]"]
    plt.close(figure)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "corner", None)
    with pytest.raises(ImportError, match=r"needs the package corner: install it with pip"):
        make().corner()
