import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytreefit import Model, ParamInfo, param


class Phase(Model):
    g: jax.Array = param(bounds="(-1, 1)", label="$g$", doc="Asymmetry.")


class Ring(Model):
    alpha_in: jax.Array = param(bounds="(0, inf)")
    width: jax.Array = param(unit="au", bounds="(0, 0.1]", default=0.1)


class Disk(Model):
    inclination: jax.Array = param(unit="deg", bounds="[0, 180]", doc="0 is face-on.")
    radial: Ring
    phase: Phase
    weights: jax.Array = param(shape=None, bounds="[0, inf)")
    offset: jax.Array = param(shape=(2,), unit="au")
    convention: str = eqx.field(static=True)
    image: jax.Array

    def __init__(self, inclination=60.0, *, g=0.3, alpha_in=5, weights=(1.0, 2.0)):
        self.inclination = inclination
        self.radial = Ring(alpha_in)
        self.phase = Phase(g)
        self.weights = weights
        self.offset = (0.0, 1.0)
        self.convention = "sphere"
        self.image = jnp.ones((2, 2))


class Scene(Model):
    disks: dict | tuple | Disk
    largest: jax.Array = param(default=100.0, unit="deg")

    def __check_init__(self):
        for disk in jax.tree.leaves(self.disks, is_leaf=lambda x: isinstance(x, Disk)):
            if not isinstance(disk.inclination, jax.core.Tracer):
                if disk.inclination > self.largest:
                    raise ValueError("A disk is more inclined than the largest inclination.")


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def scene():
    return Scene({"inner": Disk(10), "outer": Disk(20.0)})


@pytest.mark.parametrize(
    "value",
    [
        30,
        30.0,
        np.float32(30),
        np.int64(30),
        np.array(30),
        jnp.array(30, jnp.float32),
        30 * u.deg,
        (30 * u.deg).to(u.rad),
    ],
)
def test_any_number_becomes_a_float_array(value):
    inclination = Disk(value).inclination
    assert isinstance(inclination, jax.Array)
    assert inclination.dtype == jnp.float64
    assert not inclination.weak_type
    np.testing.assert_allclose(inclination, 30, rtol=1e-12)


def test_single_precision():
    with jax.enable_x64(False):
        model = Disk(0.1, weights=[1, 2]).set({"radial.width": 0.1})
        assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {jnp.dtype("float32")}


def test_integers_keep_all_digits():
    assert Ring(2**53 - 1).alpha_in == 2.0**53 - 1


def test_lists_of_tracers_are_converted():
    weights = jax.jit(lambda x: Disk(weights=[x, 2 * x]).weights)(3.0)
    np.testing.assert_array_equal(weights, [3, 6])


def test_dimensionless_quantities_are_converted():
    assert Phase(30 * u.percent).g == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Disk(3 * u.s), r"Disk.inclination = 3.0 s cannot be converted to unit 'deg'"),
        (lambda: Phase(3 * u.s), r"Phase.g = 3.0 s cannot be converted to a dimensionless number"),
        (lambda: Phase("a"), r"Phase.g = 'a' is not a real number: pass an int"),
        (lambda: Phase(None), r"Phase.g = None is not a real number"),
        (lambda: Phase(True), r"Phase.g = True is not a real number"),
        (lambda: Phase(0.1j), r"Phase.g = 0.1j is not a real number"),
        (lambda: Phase("f8"), r"Phase.g = 'f8' is not a real number"),
        (lambda: Disk(weights=[[1], [2, 3]]), r"Disk.weights = .* is not a real number"),
        (lambda: Disk(weights=["a"]), r"Disk.weights = \['a'\] is not a real number"),
    ],
)
def test_what_is_no_number_is_refused(build, message):
    with pytest.raises(TypeError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Disk(181), r"Disk.inclination = 181 deg is outside \[0, 180\] deg. Pass a value"),
        (lambda: Phase(1), r"Phase.g = 1 is outside \(-1, 1\)"),
        (lambda: Phase(jnp.nan), r"Phase.g = nan is not finite"),
        (lambda: Ring(jnp.inf), r"Ring.alpha_in = inf is not finite"),
        (lambda: Disk(weights=[1, 2, -3]), r"Disk.weights\[2\] = -3 is outside \[0, inf\)"),
        (lambda: Phase([0.1]), r"Phase.g has shape \(1,\) but must be of shape \(\)"),
        (lambda: Disk(weights=1.0), r"Disk.weights has shape \(\) but must be one-dimensional"),
    ],
)
def test_bad_values_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_closed_bounds_hold_in_single_precision():
    with jax.enable_x64(False):
        assert Ring(1, width=0.1).width <= np.float32(0.1)
        with pytest.raises(ValueError, match=r"Ring.width"):
            Ring(1, width=np.nextafter(np.float32(0.1), np.float32(1)))


@pytest.mark.parametrize("bounds", ["0, 1", "[a, b]", "[0; 1]", ""])
def test_bounds_that_are_no_interval_are_refused(bounds):
    with pytest.raises(ValueError, match=r"is not an interval: write it like"):
        param(bounds=bounds)


def test_empty_bounds_are_refused():
    with pytest.raises(ValueError, match=r"bounds='\[1, 0\]' is empty"):
        param(bounds="[1, 0]")


def test_param_info():
    info = Phase.__dataclass_fields__["g"].metadata["pytreefit"]
    assert info == ParamInfo(lower=-1, upper=1, label="$g$", doc="Asymmetry.")
    assert info.bounds == "(-1, 1)"
    np.testing.assert_array_equal(info.contains([-1.0, 0.0, 1.0]), [False, True, False])


def test_shape_errors_show_under_jit_and_value_errors_do_not():
    @jax.jit
    def asymmetry(g):
        return Phase(g).g

    assert asymmetry(7.0) == 7
    with pytest.raises(ValueError, match=r"Phase.g has shape"):
        asymmetry(jnp.ones(3))


def test_jit_grad_and_vmap_over_models_and_constructors(disk):
    gradient = jax.grad(lambda i: Disk(i).set({"phase.g": i / 100}).phase.g)(50.0)
    assert gradient == pytest.approx(0.01)
    assert eqx.filter_grad(lambda d: d.inclination**2)(disk).inclination == 120
    assert jax.vmap(Disk)(jnp.arange(3.0)).phase.g.shape == (3,)
    assert eqx.filter_jit(lambda d: d.set({"inclination": d.phase.g}))(disk).inclination == 0.3


def test_new_values_do_not_recompile():
    traces = []

    @eqx.filter_jit
    def inclination(model):
        traces.append(1)
        return model.inclination

    inclination(Disk(1))
    inclination(Disk(2.5, g=0.1).set({"radial.alpha_in": 7 * u.one}))
    assert len(traces) == 1


def test_get(disk, scene):
    assert disk.get("phase.g") is disk.phase.g
    assert disk.get("radial") is disk.radial
    assert disk.get("convention") == "sphere"
    assert scene.get("disks.outer.inclination") == 20
    assert Scene((Disk(1), Disk(2))).get("disks.1.inclination") == 2


def test_set_makes_a_new_model(disk):
    new = disk.set({"phase.g": 0.5, "inclination": 1 * u.rad, "radial.alpha_in": 7})
    assert disk.phase.g == 0.3
    assert (new.phase.g, new.radial.alpha_in) == (0.5, 7)
    np.testing.assert_allclose(new.inclination, np.rad2deg(1.0))
    assert new.image is disk.image
    assert jax.tree.structure(new) == jax.tree.structure(disk)


@pytest.mark.parametrize("container", [dict, tuple, list])
def test_set_inside_containers(container):
    disks = (Disk(1), Disk(2))
    scene = Scene(dict(enumerate(disks)) if container is dict else container(disks))
    new = scene.set({"disks.1.inclination": 5, "disks.0.phase.g": 0})
    assert type(new.disks) is container
    assert [new.disks[i].inclination for i in (0, 1)] == [1, 5]
    assert [new.disks[i].phase.g for i in (0, 1)] == [0, 0.3]


def test_set_replaces_sub_models_and_other_fields(disk):
    new = disk.set({"phase": Phase(-0.2), "convention": "right_angle", "image": jnp.zeros(3)})
    assert new.phase.g == -0.2
    assert new.convention == "right_angle"
    assert new.image.shape == (3,)


def test_set_of_nothing_changes_nothing(disk):
    assert disk.set({}) is disk


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inclination": 200}, r"Disk.inclination = 200 deg is outside"),
        ({"phase.g": [0.1, 0.2]}, r"Phase.g has shape \(2,\)"),
        ({"phase": Phase(0), "phase.g": 0.1}, r"cannot replace a Phase and at once .*\(g\)"),
    ],
)
def test_set_checks(disk, values, message):
    with pytest.raises(ValueError, match=message):
        disk.set(values)


def test_set_runs_the_checks_of_the_modules_above(scene):
    with pytest.raises(ValueError, match=r"more inclined than"):
        scene.set({"disks.inner.inclination": 120})


@pytest.mark.parametrize("value", [0.3, jnp.ones(3), 1 * u.deg])
def test_a_number_does_not_replace_a_sub_model(disk, value):
    with pytest.raises(TypeError, match=r"A Phase cannot be replaced by the number .*\(g\)"):
        disk.set({"phase": value})


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("inclinaton", "'inclination'"),
        ("alpha_in", "'radial.alpha_in'"),
        ("disk.radial.alpha_in", "'radial.alpha_in'"),
        ("alpha_ni", "'radial.alpha_in'"),
        ("phase.g.x", "'phase.g'"),
    ],
)
def test_unknown_paths_suggest_known_ones(disk, path, suggestion):
    for attempt in (disk.get, lambda path: disk.set({path: 1.0})):
        with pytest.raises(ValueError, match=rf"no parameter '{path}': did you mean {suggestion}"):
            attempt(path)


def test_unknown_paths_through_containers(scene):
    with pytest.raises(ValueError, match=r"did you mean 'disks.inner.phase.g'"):
        scene.get("disks.iner.phase.g")


def test_a_path_like_no_other(disk):
    with pytest.raises(ValueError, match=r"no parameter 'zzzz': The method parameters\(\) lists"):
        disk.get("zzzz")


def test_parameters_table(scene):
    table = scene.parameters()
    assert [row[0] for row in table][:3] == [
        "disks.inner.inclination",
        "disks.inner.radial.alpha_in",
        "disks.inner.radial.width",
    ]
    assert len(table) == 13
    assert table[0] == ("disks.inner.inclination", "10", "deg", "[0, 180]", "0 is face-on.")
    lines = repr(table).splitlines()
    assert lines[0].split() == ["path", "value", "unit", "bounds", "doc"]
    assert len(lines) == len(table) + 2
    assert "[1., 2.]" in repr(table)
    page = table._repr_html_()
    assert "<td>disks.outer.phase.g</td><td>0.3</td>" in page
    assert page.count("<tr>") == page.count("</tr>") == len(table) + 1


def test_parameters_of_a_batch_and_of_a_traced_model(disk):
    assert "[1., 2.]" in repr(jax.vmap(Disk)(jnp.array([1.0, 2.0])).parameters())
    text = []
    jax.jit(lambda i: text.append(repr(Disk(i).parameters())))(1.0)
    assert "inclination" in text[0]


def test_tree_at_and_prints(disk):
    assert eqx.tree_at(lambda d: d.phase.g, disk, jnp.array(0.9)).phase.g == 0.9
    assert repr(disk).startswith("Disk(")
    # numbers are shown, arrays are not, whatever the precision
    for part in ("inclination=60.0", "alpha_in=5.0", "width=0.1)", "weights=f", "image=f"):
        assert part in repr(disk)
    text = []
    jax.jit(lambda i: text.append(repr(Disk(i))))(1.0)
    assert "inclination=f" in text[0]


def test_errors_name_the_class_that_is_built():
    class Special(Phase):
        pass

    with pytest.raises(ValueError, match=r"Special.g = 2 is outside"):
        Special(2)


def test_bound_methods_are_those_of_equinox():
    for phase in (Phase(0.3), Phase(0.5)):
        method, wanted = phase.get, eqx.Module.__getattribute__(phase, "get")
        assert type(method) is type(wanted)
        assert jax.tree.structure(method) == jax.tree.structure(wanted)
        assert (method.__name__, method.__doc__) == (wanted.__name__, wanted.__doc__)
        assert float(method("g")) == float(phase.g)
    # a PyTree: what it is bound to is traced
    doubled = eqx.filter_jit(lambda method: 2.0 * method("g"))
    assert float(doubled(Phase(0.25).get)) == 0.5
    assert Disk.set.__qualname__ == "Model.set"
