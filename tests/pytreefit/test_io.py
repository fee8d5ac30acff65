import dataclasses
import enum
import json
import os
import sys
import zipfile

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from pytreefit import Model, Posterior, jit, load, param, save


class Part(Model):
    g: jax.Array = param(bounds="(-1, 1)")


class Whole(Model):
    parts: dict
    values: jax.Array = param(shape=None)
    table: np.ndarray
    count: int
    name: str = eqx.field(static=True)
    sizes: tuple = eqx.field(static=True)

    def __init__(self, g):
        self.parts = {"a": Part(g), "b": (Part(0.1), [None, True])}
        self.values = [1.0, 1 / 3]
        self.table = np.arange(4, dtype=np.int16)
        self.count = 3
        self.name = "whole"
        self.sizes = (1, 2.5, "x", float("inf"))


class Named(eqx.Module):
    function: object


@jit
def log_likelihood(part):
    return -((part.g - 0.2) ** 2)


def linked(part):
    return part.g


class Data(eqx.Module):
    points: jax.Array

    def log_likelihood(self, part):
        return -jnp.sum((self.points - part.g) ** 2)


class Color(enum.Enum):
    RED = "a colour"


@dataclasses.dataclass(frozen=True, init=False)
class Table:
    rows: np.ndarray
    color: Color

    def __init__(self):
        rows = np.arange(3.0)
        rows.flags.writeable = False
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "color", Color.RED)


class Outer:
    class Inner(eqx.Module):
        x: jax.Array


@pytest.fixture
def whole():
    return Whole(0.3)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.npz"


def edit_header(file, change):
    """Rewrite a saved file with another header."""
    with np.load(file) as saved:
        entries = dict(saved)
    header = json.loads(str(entries["header"]))
    change(header)
    with open(file, "wb") as stream:
        np.savez(stream, **{**entries, "header": np.array(json.dumps(header))})


def test_round_trip_is_exact(whole, file):
    save(file, whole)
    loaded = load(file)
    assert eqx.tree_equal(loaded, whole, typematch=True)
    assert type(loaded.table) is np.ndarray
    assert loaded.table.dtype == np.int16
    assert loaded.sizes == whole.sizes
    assert jax.tree.structure(loaded) == jax.tree.structure(whole)


@pytest.mark.parametrize(
    "tree",
    [
        {"draws": jnp.ones((2, 3)), "b": [np.float32(0.1), np.int64(3)], "none": None},
        {1: True, 0: "x"},
        (jnp.zeros((0, 2)), np.array(["a", "bc"]), np.array([True]), jnp.array([1j])),
        float("nan"),
        Outer.Inner(jnp.ones(2)),
    ],
)
def test_trees_without_models(tree, file):
    save(file, tree)
    old, new = jax.tree.leaves(tree), jax.tree.leaves(load(file))
    assert [type(leaf) for leaf in new] == [type(leaf) for leaf in old]
    for one, other in zip(new, old, strict=True):
        np.testing.assert_array_equal(one, other)


def test_saving_again_replaces_the_file(whole, file):
    save(file, Whole(0.1))
    save(str(file), whole)
    assert load(str(file)).parts["a"].g == 0.3
    assert list(file.parent.iterdir()) == [file]


def test_a_failed_save_leaves_the_old_file(whole, file, monkeypatch):
    save(file, whole)
    monkeypatch.setattr(np, "savez", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save(file, Whole(0.1))
    monkeypatch.undo()
    assert load(file).parts["a"].g == 0.3
    assert list(file.parent.iterdir()) == [file]


def test_no_pickle_inside(whole, file):
    save(file, whole)
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    assert names[0] == "header.npy"
    with np.load(file, allow_pickle=False) as saved:
        assert json.loads(str(saved["header"]))["format"] == "pytreefit"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Named(jnp.sin), r"Named.function is a function .* cannot be saved"),
        (lambda: Named(lambda x: x), r"Named.function is a .*top level of a module"),
        (lambda: Named(os.path.join), r"join, of Python's standard library"),
        (lambda: Named(np.dtype(float)), r"Named.function is a .*DType.* cannot be saved"),
        (lambda: {"k": jax.random.key(0)}, r"dict.k is a random key: save jax.random.key_data"),
        (lambda: np.array([None]), r"ndarray is an array of object, which cannot be saved"),
        (lambda: {(1, 2): 3.0}, r"dict has the key \(1, 2\): only strings and integers"),
        (
            lambda: Posterior(Part(0.1), lambda m: m.g, {"g": dist.Uniform(-1, 1)}),
            r"Posterior.log_likelihood is a .*<lambda>.*Define the function at the top level",
        ),
    ],
)
def test_what_cannot_be_saved_is_refused(build, message, file):
    with pytest.raises((TypeError, ValueError), match=message):
        save(file, build())
    assert not file.exists()


@pytest.mark.parametrize("log_likelihood", [log_likelihood, Data(jnp.arange(3.0)).log_likelihood])
@pytest.mark.parametrize(
    "prior",
    [
        (-0.9, 0.9),
        dist.Uniform(-0.5, 0.5),
        dist.TruncatedNormal(0.0, 1.0, low=-0.9, high=0.9),
        dist.TransformedDistribution(
            dist.Normal(0.0, 1.0),
            [
                dist.transforms.SigmoidTransform(),
                dist.transforms.AffineTransform(-0.5, 1.0, domain=dist.constraints.unit_interval),
            ],
        ),
    ],
    ids=["tuple", "uniform", "truncated", "transformed"],
)
def test_posteriors(log_likelihood, prior, file):
    posterior = Posterior(Part(0.1), log_likelihood, {"g": prior})
    save(file, posterior)
    loaded = load(file)
    assert jax.tree.structure(loaded) == jax.tree.structure(posterior)
    u = jnp.array([0.3])
    assert loaded.log_density(u) == posterior.log_density(u)
    np.testing.assert_array_equal(
        loaded.sample_prior(jax.random.key(0))["g"], posterior.sample_prior(jax.random.key(0))["g"]
    )


def test_links_and_priors_of_arrays(file):
    model = Whole(0.3)
    priors = {"values": dist.LogNormal(0.0, 1.0), "parts.a.g": (-0.9, 0.9)}
    posterior = Posterior(model, lambda_of_whole, priors, links={"parts.b.0.g": linked_of_whole})
    save(file, posterior)
    loaded = load(file)
    u = jnp.array([0.3, 0.2, -0.1])
    assert loaded.log_density(u) == posterior.log_density(u)
    assert loaded.model_from(u).parts["b"][0].g == posterior.model_from(u).parts["a"].g


def lambda_of_whole(whole):
    return -jnp.sum(whole.values**2)


def linked_of_whole(whole):
    return whole.parts["a"].g


def test_dataclasses_and_enumerations(file):
    save(file, Table())
    loaded = load(file)
    np.testing.assert_array_equal(loaded.rows, np.arange(3.0))
    assert not loaded.rows.flags.writeable
    assert loaded.color is Color.RED


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shutil:rmtree", "of Python's standard library: refused"),
        ("antigravity_of_mine:fly", "import antigravity_of_mine first if you trust it"),
        ("pytreefit:no_such", "cannot be imported"),
        ("pytreefit:Model", "is not a function of that module"),
        ("numpy:einsum", "is not a function of that module"),
    ],
)
def test_functions_of_anywhere_are_refused(name, message, file):
    save(file, Named(linked))
    edit_header(file, _set("tree", "fields", "function", "function", name))
    with pytest.raises(ValueError, match=message):
        load(file)


def test_a_package_that_is_not_imported_is_not_imported_for_a_function(file):
    save(file, Named(linked))
    edit_header(file, _set("tree", "fields", "function", "function", "wheel.cli:main"))
    sys.modules.pop("wheel", None)
    with pytest.raises(ValueError, match="import wheel first"):
        load(file)
    assert "wheel" not in sys.modules


def test_local_classes_are_refused_when_saving(file):
    class Local(eqx.Module):
        x: float

    with pytest.raises(TypeError, match=r"cannot be imported.* top level of a module"):
        save(file, Local(1.0))


def test_redefined_classes_are_refused_when_saving(file, monkeypatch):
    old = Part(0.1)
    monkeypatch.setitem(globals(), "Part", Whole)
    with pytest.raises(TypeError, match=r"its class is no longer what .*:Part names"):
        save(file, old)


def test_traced_values_are_refused(file):
    with pytest.raises(TypeError, match=r"list.0 is traced by JAX"):
        jax.jit(lambda x: save(file, [x]))(1.0)


def test_a_missing_file(file):
    with pytest.raises(FileNotFoundError):
        load(file)


def test_other_files_are_refused(whole, file):
    file.write_text("something else")
    with pytest.raises(ValueError, match=r"was not written by pytreefit.save, or it is cut short"):
        load(file)
    np.savez(file, a=np.ones(2))
    with pytest.raises(ValueError, match=r"has no header"):
        load(file)
    np.savez(file, header=np.array("{}"))
    with pytest.raises(ValueError, match=r"has a damaged header"):
        load(file)
    save(file, whole)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"cut short"):
        load(file)


def _set(*path):
    *path, value = path

    def change(header):
        for key in path[:-1]:
            header = header[key]
        header[path[-1]] = value

    return change


G = ("tree", "fields", "g")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("format", "other"), "has the format 'other' instead of 'pytreefit'"),
        (_set("version", 99), "format version 99 but this pytreefit reads up to 1: update"),
        (_set("tree", "module", "no.such:Thing"), "no.such:Thing, which cannot be imported"),
        (_set("tree", "module", "json:Thing"), "json:Thing, which cannot be imported"),
        (_set("tree", "module", "json:JSONDecoder"), "is not an Equinox module or dataclass"),
        (_set("tree", "fields", {}), r"another version of .*:Part: .* lacks \['g'\]"),
        (_set("tree", "fields", "h", {"value": 1}), r"the file has \['h'\] which the class"),
        (_set(*G, "shape", [3]), r"model.npz.g is <f8 of shape \(\) but .* of shape \(3,\)"),
        (_set(*G, "dtype", "<f4"), r"model.npz.g is <f8 .* the header says <f4"),
        (_set(*G, "array", "array_9"), "model.npz.g is missing in the file: 'array_9'"),
        (_set(*G, {"other": 1}), r"model.npz.g has an unknown entry \['other'\]"),
        (_set(*G, {"value": 2.0}), r"Part.g = 2 is outside \(-1, 1\)"),
    ],
)
def test_headers_are_checked(change, message, file):
    save(file, Part(0.1))
    edit_header(file, change)
    with pytest.raises(ValueError, match=message):
        load(file)


def test_precision(file):
    save(file, Part(0.1))
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match=r"saved as float64 but JAX runs in single precision"):
            load(file)
        save(file, Part(0.1))
    assert load(file).g.dtype == jnp.float32
