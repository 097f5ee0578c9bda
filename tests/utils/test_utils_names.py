import pytest

from torchkeras import registry, utils
from torchkeras.callbacks import progbar


def test_names_come_from_where_they_live():
    assert utils.Progbar is progbar.Progbar
    for name in utils.__all__:
        assert hasattr(utils, name)


def test_custom_objects_are_known_inside_the_scope_only():
    def swoosh(x):
        return x

    with utils.CustomObjectScope({"swoosh": swoosh}):
        assert utils.get_custom_objects()["swoosh"] is swoosh
        assert registry.get("activation", "swoosh") is swoosh
    assert "swoosh" not in utils.get_custom_objects()
    with pytest.raises(ValueError, match="swoosh"):
        registry.get("activation", "swoosh")
