"""Fields whose modules have no name in paths."""

import jax
import pytest

from pytreefit import Model, param
from pytreefit.extend import inline, walk


class Lens(Model):
    power: jax.Array = param(bounds="(0, inf)", default=1.0)


class Camera(Model):
    gain: jax.Array = param(default=2.0)
    lens: Lens = inline(default_factory=Lens)


class Sky(Model):
    camera: Camera | dict = inline(default_factory=Camera)
    level: jax.Array = param(default=3.0)


def test_what_is_inside_is_at_the_owners_paths():
    sky = Sky()
    assert [node.path for node in walk(sky)] == ["gain", "power", "level"]
    moved = sky.set({"power": 5.0, "level": 6.0, "gain": 7.0})
    assert [float(moved.get(path)) for path in ("power", "level", "gain")] == [5.0, 6.0, 7.0]
    assert float(moved.camera.lens.power) == 5.0
    with pytest.raises(ValueError, match=r"Lens.power = -1 is outside \(0, inf\)"):
        sky.set({"power": -1.0})
    with pytest.raises(ValueError, match=r"no parameter 'camera.gain': did you mean 'gain'"):
        sky.get("camera.gain")


def test_a_path_names_one_thing_only():
    class Twice(Model):
        power: jax.Array = param(default=1.0)
        lens: Lens = inline(default_factory=Lens)

    with pytest.raises(ValueError, match="Twice and its Lens both have power"):
        Twice()


def test_a_dictionary_keeps_its_name():
    sky = Sky(camera={"left": Camera(), "right": Camera()})
    assert float(sky.set({"camera.left.power": 4.0}).camera["left"].lens.power) == 4.0
