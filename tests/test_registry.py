"""Names, classes, configs and callables become objects; unknown ones name their neighbours."""

import pytest

from torchkeras import registry
from torchkeras.registry import Configurable


@registry.register("gadget", "gizmo")
class BlueGadget(Configurable):
    def __init__(self, size=1, shape=(2, 3)):
        self.size, self.shape = size, shape


@registry.register("gadget")
def turn(x):
    return x


def test_every_name_of_a_thing():
    for name in ("BlueGadget", "blue_gadget", "gizmo"):
        assert isinstance(registry.get("gadget", name), BlueGadget)
    assert registry.get("gadget", "turn") is turn
    assert isinstance(registry.get("gadget", BlueGadget), BlueGadget)
    assert registry.get("gadget", None) is None
    gadget = BlueGadget(4)
    assert registry.get("gadget", gadget) is gadget


def test_unknown_names_and_things():
    with pytest.raises(ValueError, match="Unknown gadget 'gizmoo'. Did you mean 'gizmo'"):
        registry.get("gadget", "gizmoo")
    with pytest.raises(ValueError, match="Known: BlueGadget, blue_gadget, gizmo, turn"):
        registry.get("gadget", "zzzzzzz")
    with pytest.raises(ValueError, match="Expected a gadget.*Received 3"):
        registry.get("gadget", 3)
    with pytest.raises(ValueError, match="'class_name'"):
        registry.get("gadget", {"name": "gizmo"})


def test_serialized_forms_of_keras_3_and_2_make_the_object_again():
    config = registry.serialize(BlueGadget(5))
    assert config == {
        "module": "keras.gadgets",
        "class_name": "BlueGadget",
        "config": {"size": 5, "shape": (2, 3)},
        "registered_name": None,
    }
    assert registry.deserialize("gadget", config).size == 5
    old = {"class_name": "BlueGadget", "config": {"size": 6}}
    assert registry.deserialize("gadget", old).size == 6
    assert registry.serialize(turn) == "turn"


def test_registered_serializables_are_found_by_package_and_name():
    @registry.register_keras_serializable("shop", name="Big")
    class Bigger(BlueGadget):
        pass

    config = registry.serialize(Bigger(7))
    assert config["registered_name"] == "shop>Big"
    assert type(registry.deserialize("gadget", config)) is Bigger
    assert registry.get_registered_name(Bigger) == "shop>Big"
    assert registry.get_registered_object("shop>Big") is Bigger
    with pytest.raises(ValueError, match="needs one"):
        registry.register_keras_serializable()(type("Bare", (), {}))


def test_custom_objects_reach_nested_configs():
    class Inner(BlueGadget):
        pass

    @registry.register("gadget")
    class Outer(Configurable):
        def __init__(self, inner=None):
            self.inner = registry.get("gadget", inner)

    config = registry.serialize(Outer(Inner(9)))
    made = registry.deserialize("gadget", config, {"Inner": Inner})
    assert type(made.inner) is Inner and made.inner.size == 9
    with pytest.raises(ValueError, match="Unknown gadget 'Inner'"):
        registry.deserialize("gadget", config)


def test_custom_objects_last_as_long_as_their_scope():
    with registry.custom_object_scope({"gizmo": turn}):
        assert registry.get("gadget", "gizmo") is turn
    assert isinstance(registry.get("gadget", "gizmo"), BlueGadget)
    assert registry.get("gadget", "mine", {"mine": turn}) is turn


def test_old_argument_names_are_renamed_and_contradictions_refused():
    registry.rename_arguments(
        {"BlueGadget": {"length": "size", "side": lambda s: {"shape": (s, s)}}}
    )
    assert BlueGadget(length=3).size == 3 and BlueGadget(side=4).shape == (4, 4)
    with pytest.raises(TypeError, match="'length' is an old name of 'size'"):
        BlueGadget(length=3, size=2)
    with pytest.raises(ValueError, match="BlueGadget: 'sizes'. Did you mean 'size'"):
        BlueGadget(sizes=3)


def test_a_variadic_constructor_cannot_be_captured():
    class Many(BlueGadget):
        def __init__(self, *parts):
            super().__init__()

    with pytest.raises(TypeError, match=r"\*parts"):
        Many(1, 2).get_config()
