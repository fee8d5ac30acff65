import dataclasses
import enum
import json
import os
import stat
import subprocess
import sys
import zipfile

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import pytreefit
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


OTHERS = [Named, Data, Color, Table, Outer.Inner, log_likelihood, linked]  # no models


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
    old, new = jax.tree.leaves(tree), jax.tree.leaves(load(file, OTHERS))
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
    loaded = load(file, classes=OTHERS)
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
    loaded = load(file, classes=[lambda_of_whole, linked_of_whole])
    u = jnp.array([0.3, 0.2, -0.1])
    assert loaded.log_density(u) == posterior.log_density(u)
    assert loaded.model_from(u).parts["b"][0].g == posterior.model_from(u).parts["a"].g


def lambda_of_whole(whole):
    return -jnp.sum(whole.values**2)


def linked_of_whole(whole):
    return whole.parts["a"].g


def test_dataclasses_and_enumerations(file):
    save(file, Table())
    loaded = load(file, OTHERS)
    np.testing.assert_array_equal(loaded.rows, np.arange(3.0))
    assert not loaded.rows.flags.writeable
    assert loaded.color is Color.RED


@pytest.mark.parametrize(
    "name",
    [
        "shutil:rmtree",
        "antigravity:fly",
        "pytreefit:no_such",
        "pytreefit.results.files:os.path.join",
        "pytreefit.results.files:Model.get",
        "numpy:einsum",
        "numpyro.distributions:Normal",
        "wheel.cli:main",
        "..:x",
        "",
        3,
        ["a"],
    ],
)
def test_functions_of_anywhere_are_refused(name, file):
    save(file, Named(linked))
    edit_header(file, _set("tree", "fields", "function", "function", name))
    before = set(sys.modules)
    with pytest.raises(ValueError, match=r"model.npz.function.* (not known here|is no name of)"):
        load(file, [Named])
    assert set(sys.modules) == before


@pytest.mark.parametrize("name", ["grater_of_mine:Thing", "spotgp:Thing", "antigravity:Thing"])
def test_modules_of_the_working_directory_do_not_run(name, file, tmp_path):
    """In a process of its own, where the packages beside pytreefit are not imported."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / f"{name.partition(':')[0]}.py").write_text("print('it ran')")
    save(file, Part(0.1))
    edit_header(file, _set("tree", "module", name))
    root = os.path.dirname(os.path.dirname(pytreefit.__file__))
    code = (
        "import pytreefit, sys\ntry: pytreefit.load(sys.argv[1])\nexcept ValueError as e: print(e)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{root}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "it ran" not in out
    assert f"is a {name}, which is not known here" in out


def test_what_is_no_model_is_handed_in(file):
    save(file, Table())
    with pytest.raises(ValueError, match=r"Table, which is not known here.*classes=\[Table\]"):
        load(file)
    with pytest.raises(ValueError, match=r"Color, which is not known here.*classes=\[Color\]"):
        load(file, [Table])
    assert load(file, [Table, Color]).color is Color.RED
    with pytest.raises(TypeError, match=r"classes has 'Table': give a list of classes and func"):
        load(file, ["Table"])


def test_a_file_changes_nothing_that_others_use(file):
    save(file, dist.constraints.real)
    edit_header(file, _set("tree", "fields", {"is_discrete": {"value": True}}))
    assert load(file) is dist.constraints.real
    assert not dist.constraints.real.is_discrete


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
        (_set("tree", "module", "no.such:Thing"), "no.such:Thing, which is not known here"),
        (_set("tree", "module", "json:Thing"), "json:Thing, which is not known here"),
        (_set("tree", "module", "json:JSONDecoder"), "JSONDecoder, which is not known here"),
        (_set("tree", "module", "pytreefit:cache_programs"), "which is not known here"),
        (_set("tree", "module", "pytreefit.cache:cache_programs"), "not an Equinox module"),
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


@pytest.mark.parametrize("before", [None, 0o600, 0o640])
def test_links_and_modes_are_kept(before, whole, tmp_path):
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    link.symlink_to(target)
    if before is not None:
        save(target, Part(0.1))
        target.chmod(before)
    save(link, whole)
    assert link.is_symlink()
    assert load(target).count == load(link).count == 3
    if before is not None:
        assert stat.S_IMODE(target.stat().st_mode) == before
    assert sorted(tmp_path.iterdir()) == [link, target]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_only_plain_files(whole, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, kind in {
        tmp_path: "a folder",
        tmp_path / "pipe": "a pipe",
        os.devnull: "a pipe",
    }.items():
        with pytest.raises(ValueError, match=f"{name} is {kind}.*a plain file"):
            save(name, whole)
        with pytest.raises(ValueError, match=f"{name} is {kind}.*a plain file"):
            load(name)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_compressed_files_are_refused(file):
    save(file, {"x": np.zeros(2_000_000)})
    with np.load(file) as saved:
        entries = dict(saved)
    with open(file, "wb") as stream:
        np.savez_compressed(stream, **entries)
    with pytest.raises(ValueError, match=r"model.npz 'header.npy' in it is compressed"):
        load(file)


def test_an_array_is_taken_once(file):
    save(file, [np.ones(3), np.ones(3)])
    edit_header(file, _set("tree", "list", 1, "array", "array_0"))
    with pytest.raises(
        ValueError, match=r"model.npz.1 is missing.*'array_0' is not in it, or used"
    ):
        load(file)


@pytest.mark.parametrize("step", [1, 97])
def test_damaged_files(step, whole, file):
    """Whatever is cut off or flipped: a ValueError that names the file, or the same content."""
    save(file, {"whole": whole, "prior": dist.Uniform(0.0, 1.0)})
    data, random = file.read_bytes(), np.random.default_rng(step)
    loaded = load(file)
    messages = []
    cuts = [data[:end] for end in range(0, len(data), len(data) // 50)]
    flips = []
    for bit in random.integers(8 * len(data), size=150):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << (bit % 8)
        flips.append(bytes(damaged))
    for damaged in cuts + flips:
        file.write_bytes(damaged)
        try:
            found = load(file)
        except ValueError as error:
            messages.append(str(error))
        else:
            assert eqx.tree_equal(found["whole"], loaded["whole"])
    assert len(messages) > len(cuts)
    assert all(str(file) in message for message in messages)


def nested(depth):
    return '{"list": [' * depth + '{"value": 1}' + "]}" * depth


@pytest.mark.parametrize(
    "tree",
    [
        nested(3_000),
        nested(100_000),
        "[" * 100_000,
        '{"array": "array_0", "kind": "numpy", "dtype": "<f8", "shape": [1000000000000]}',
        '{"array": "array_0", "kind": "numpy", "dtype": "<f8", "shape": [-3]}',
        '{"array": "array_0", "kind": "numpy", "dtype": "<f8", "shape": 3}',
        '{"array": ["array_0"], "kind": "numpy", "dtype": "<f8", "shape": [3]}',
        '{"array": "array_0", "kind": "other", "dtype": "<f8", "shape": [3]}',
        '{"array": "header", "kind": "numpy", "dtype": "<f8", "shape": [3]}',
        '{"array": "array_0"}',
        '{"value": [1, 2]}',
        '{"dict": [[[1], {"value": 1}]]}',
        '{"dict": 3}',
        '{"tuple": {"a": 1}}',
        '{"list": [3]}',
        '{"enum": "pytreefit:Status", "member": "no"}',
        '{"module": 3, "fields": {}}',
        '{"module": "pytreefit.joint:Joint", "fields": 3}',
        '{"module": "pytreefit.joint:Joint", "fields": {"parts": {"value": 3}}}',
        '{"record": "pytreefit.model:Node", "fields": {"path": {"value": "x"}}}',
        '{"object": "numpyro.distributions.continuous:Normal", "fields": []}',
        '{"object": "pytreefit.joint:Joint", "fields": {}}',
        '{"method": "names", "of": {"value": 3}}',
        '{"method": "__init__", "of": {"list": []}}',
        "3",
        "null",
        '{"": 1}',
    ],
)
def test_hostile_headers(tree, file):
    header = f'{{"format": "pytreefit", "version": 1, "tree": {tree}}}'
    np.savez(file, header=np.array(header), array_0=np.ones(3))
    with pytest.raises(ValueError, match=r"model.npz"):
        load(file)


@pytest.mark.parametrize(
    "shape", ["(1000000000000,)", "(1000000000000, 0)", "(3,) * 9", "(-3,)", "(2,)", "3", "(" * 200]
)
def test_hostile_arrays(shape, file):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-len(text) % 64)
    member = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + np.ones(3).tobytes()
    save(file, [np.ones(3)])
    with zipfile.ZipFile(file) as archive:
        header = archive.read("header.npy")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("header.npy", header)
        archive.writestr("array_0.npy", member)
    with pytest.raises(ValueError, match=r"model.npz"):
        load(file)
