"""Training keeps to what was trainable at compile, whenever the user changes it."""

import warnings

import numpy as np
import pytest

from torchkeras.callbacks import Callback
from torchkeras.layers import Dense
from torchkeras.models import Sequential

X = np.random.RandomState(1).rand(30, 4)
Y = X.sum(1)


def network(**kwargs):
    model = Sequential([Dense(3, input_dim=4), Dense(1)])
    model.compile("sgd", "mse", **kwargs)
    return model


class Freeze(Callback):
    """Sets `trainable` of the first layer at some hook, and notes what it finds there."""

    def __init__(self, hook, value=False):
        self.seen = []

        def change(index, logs=None):
            self.seen.append(self.model.layers[0].trainable)
            self.model.layers[0].trainable = value

        setattr(self, hook, change)


def weights_move(model, **kwargs):
    before = model.get_weights()
    model.fit(X, Y, batch_size=10, verbose=0, **kwargs)
    return [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]


def test_compile_before_the_first_build_notes_the_flags_too():
    model = Sequential([Dense(1)])
    model.compile("sgd", "mse")
    model.trainable = False
    with pytest.warns(UserWarning, match="after compile"):
        model.train_on_batch(X, Y)
    first = model.get_weights()[0]
    with pytest.warns(UserWarning, match="after compile"):
        model.train_on_batch(X, Y)
    assert not np.array_equal(first, model.get_weights()[0])
    assert not model.trainable and not model.layers[0].trainable


def test_a_layer_added_after_compile_is_noted_when_first_trained_and_others_keep_theirs():
    model = network()
    model.layers[0].trainable = False
    model.add(Dense(1, trainable=False))
    with pytest.warns(UserWarning, match="'dense.*after compile"):
        assert weights_move(model) == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    "hook", ["on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end"]
)
def test_a_callback_that_freezes_has_no_effect_until_compile(hook):
    model, freeze = network(), Freeze(hook)
    plain = network()
    plain.set_weights(model.get_weights())
    with pytest.warns(UserWarning, match="after compile"):
        losses = model.fit(
            X, Y, batch_size=10, epochs=3, shuffle=False, verbose=0, callbacks=[freeze]
        ).history["loss"]
    assert losses == plain.fit(X, Y, 10, 3, verbose=0, shuffle=False).history["loss"]
    # What the callback set is what it and the caller find.
    assert freeze.seen[0] is True and not any(freeze.seen[1:])
    assert [layer.trainable for layer in model.layers] == [False, True]
    assert not model.layers[0].linear.weight.requires_grad
    model.compile("sgd", "mse")
    assert weights_move(model) == [False, False, True, True]


def test_a_callback_that_unfreezes_has_no_effect_until_compile_either():
    model = network()
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="after compile"):
        moved = weights_move(model, epochs=2, callbacks=[Freeze("on_epoch_end", True)])
    assert moved == [False, False, True, True] and model.layers[0].trainable


def test_the_last_value_stays_when_a_callback_takes_a_change_back():
    model = network()
    model.layers[0].trainable = False
    with pytest.warns(UserWarning, match="after compile"):
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[Freeze("on_epoch_end", True)])
    assert model.layers[0].trainable and model.layers[0].linear.weight.requires_grad


def test_parameters_frozen_in_torchs_way_stay_as_they_are():
    model = network()
    for parameter in model.layers[0].parameters():
        parameter.requires_grad_(False)
    assert weights_move(model) == [False, False, True, True]
    model.layers[0].linear.weight.requires_grad_(True)
    assert weights_move(model) == [True, False, True, True]

    class Thaw(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.layers[0].linear.bias.requires_grad_(True)

    assert weights_move(model, epochs=2, callbacks=[Thaw()]) == [True] * 4


def test_compile_inside_fit_is_refused():
    class Compile(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.compile("sgd", "mae")

    model = network()
    with pytest.raises(ValueError, match="while fit is under way.*stop_training"):
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[Compile()])
    model.compile("sgd", "mae")  # and works again after it
    model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("method", ["fit", "train_on_batch"])
def test_warnings_point_at_the_line_of_the_user(method):
    model = network()
    model.layers[0].trainable = False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(model, method)(X, Y)
        model.fit(X, Y, steps_per_epoch=5, epochs=2, batch_size=10, verbose=0)
    assert len(caught) >= 3 and {warning.filename for warning in caught} == {__file__}
