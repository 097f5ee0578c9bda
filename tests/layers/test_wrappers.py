"""TimeDistributed, Bidirectional, ConvLSTM: own behaviour, errors, training."""

import numpy as np
import pytest
import torch
from torch import nn

import torchkeras as keras
from torchkeras import eras, layers

# ----------------------------------------------------------------------------- TimeDistributed


def calls_of(layer, *shape):
    """The shapes that the layer inside of TimeDistributed is called on."""
    seen = []
    layer.register_forward_hook(lambda module, args, output: seen.append(tuple(args[0].shape)))
    layers.TimeDistributed(layer)(torch.rand(*shape))
    return seen


def test_steps_go_through_as_one_batch():
    assert calls_of(layers.Dense(2), 3, 4, 5) == [(12, 5)]
    model = keras.Sequential([layers.Input((6, 6, 1)), layers.Conv2D(2, 3), layers.Flatten()])
    assert calls_of(model, 2, 3, 6, 6, 1) == [(6, 6, 6, 1)]


def test_what_looks_at_the_batch_goes_step_by_step():
    class Centered(layers.Layer):
        def call(self, inputs):
            return inputs - inputs.mean(0)

    assert calls_of(Centered(), 3, 2, 5) == [(3, 5), (3, 5)]
    assert calls_of(layers.Lambda(lambda x: x - x.mean(0)), 3, 2, 5) == [(3, 5), (3, 5)]
    inputs = keras.Input((5,))
    model = keras.Model(inputs, inputs - keras.ops.mean(inputs, 0))
    assert calls_of(model, 3, 2, 5) == [(3, 5), (3, 5)]
    x = torch.rand(3, 2, 5)
    torch.testing.assert_close(layers.TimeDistributed(Centered())(x), x - x.mean(0))


def test_batch_normalization_takes_steps_apart_in_training_alone():
    layer = layers.TimeDistributed(layers.BatchNormalization(momentum=0.5))
    x = torch.rand(4, 2, 3)
    layer(x)
    layer(x, training=True)
    mean = 0.25 * x[:, 0].mean(0) + 0.5 * x[:, 1].mean(0)
    torch.testing.assert_close(layer.layer.moving_mean.value, mean)


def test_frozen_batch_normalization_does_not_move():
    layer = layers.TimeDistributed(layers.BatchNormalization())
    layer(torch.rand(4, 2, 3))
    layer.trainable = False
    layer(torch.rand(4, 2, 3), training=True)
    assert layer.layer.moving_mean.numpy().tolist() == [0, 0, 0]


def test_training_reaches_the_layer_inside():
    layer = layers.TimeDistributed(layers.Dropout(0.5))
    x = torch.ones(8, 4, 16)
    assert torch.equal(layer(x), x)
    dropped = layer(x, training=True)
    assert 0.3 < (dropped == 0).float().mean() < 0.7
    assert not torch.equal(dropped[:, 0], dropped[:, 1])  # other draws for each step


def test_time_distributed_of_unknown_steps():
    inputs = keras.Input((None, 6, 6, 1))
    x = layers.TimeDistributed(layers.Conv2D(2, 3, activation="relu"))(inputs)
    assert x.shape == (None, None, 4, 4, 2)
    x = layers.TimeDistributed(layers.Flatten())(x)
    assert x.shape == (None, None, 32)
    model = keras.Model(
        inputs,
        layers.TimeDistributed(layers.Embedding(3, 2))(
            layers.Lambda(lambda one: (one.sum(-1, keepdim=True) > 0).long())(x)
        ),
    )
    assert model.output.dtype == "float32"
    assert model(torch.rand(2, 5, 6, 6, 1)).shape == (2, 5, 1, 2)


def test_masks_pass_and_reach_layers_that_take_them():
    mask = torch.tensor([[True, False], [True, True]])
    x = torch.rand(2, 2, 3)
    layer = layers.TimeDistributed(layers.Dense(2))
    assert torch.equal(layer(x, mask=mask)._keras_mask, mask)
    inner = torch.tensor([[[True, False, False]] * 2, [[True, True, True]] * 2])
    mean = layers.TimeDistributed(layers.GlobalAveragePooling1D())
    y = torch.rand(2, 2, 3, 4)
    torch.testing.assert_close(mean(y, mask=inner)[0], y[0, :, 0])
    with pytest.raises(ValueError, match="incompatible.*\\(2, 2, 3\\).*batch and steps"):
        layer(x, mask=torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="at least 2D"):
        layer(x, mask=torch.ones(2, dtype=torch.bool))


def test_keras_2_made_masks_of_the_layer_inside():
    ids = torch.tensor([[[1, 0], [0, 0]]])
    embedding = layers.TimeDistributed(layers.Embedding(3, 2, mask_zero=True))
    assert getattr(embedding(ids), "_keras_mask", None) is None
    with eras.using("2"):
        made = embedding(ids)
        assert torch.equal(made._keras_mask, ids > 0)
        last = layers.TimeDistributed(layers.LSTM(2))(made)
        assert last._keras_mask.tolist() == [[True, False]]


def test_errors_of_wrappers():
    for make in (layers.TimeDistributed, layers.Wrapper):
        with pytest.raises(ValueError, match="`layer` must be a layer.*2"):
            make(2)
    layer = layers.TimeDistributed(layers.Dense(2), name="each")
    for call in (
        lambda: layer(torch.rand(2, 3)),
        lambda: layer.compute_output_shape((2, 3)),
        lambda: layer.build((2, 3)),
    ):
        with pytest.raises(ValueError, match="'each'.*at least 3 dimensions.*\\(2, 3\\)"):
            call()


def test_wrapper_is_a_base_class():
    class Twice(layers.Wrapper):
        def call(self, inputs):
            return self.layer(inputs) * 2

    layer = Twice(layers.Dense(2))
    x = torch.rand(3, 4)
    torch.testing.assert_close(layer(x), layer.layer(x) * 2)
    assert len(layer.weights) == 2
    again = Twice.from_config(layer.get_config())
    assert again.layer.units == 2


# ------------------------------------------------------------------------------- Bidirectional


def test_each_way_is_a_torch_module():
    layer = layers.Bidirectional(layers.LSTM(3))
    layer(torch.rand(2, 4, 5))
    assert type(layer.forward_layer.cell.lstm) is nn.LSTM
    names = [name.partition(".")[0] for name, _ in layer.named_parameters()]
    assert set(names) == {"forward_layer", "backward_layer"}
    assert layer.layer is layer.forward_layer
    assert (layer.forward_layer.name, layer.backward_layer.go_backwards) == (
        f"forward_{layer.layer.name.removeprefix('forward_')}",
        True,
    )


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
@pytest.mark.parametrize("padded", ["left", "right", "holes"])
def test_masked_steps_change_nothing(kind, padded):
    layer = layers.Bidirectional(getattr(layers, kind)(3))
    steps = {"left": [2, 3, 4], "right": [0, 1, 2], "holes": [0, 2, 4]}[padded]
    x, mask = torch.rand(2, 5, 4), torch.zeros(2, 5, dtype=torch.bool)
    mask[:, steps] = True
    torch.testing.assert_close(layer(x, mask=mask), layer(x[:, steps]))


def test_outputs_of_masked_steps_are_zero():
    layer = layers.Bidirectional(layers.GRU(3, return_sequences=True))
    mask = torch.tensor([[True, True, False]])
    found = layer(torch.rand(1, 3, 2), mask=mask)
    assert found[0, 2].tolist() == [0] * 6 and (found[0, :2] != 0).all()
    assert torch.equal(found._keras_mask, mask)


def test_states_of_an_encoder_and_the_list_of_keras_2():
    x = torch.rand(2, 4, 3)
    encoder = layers.Bidirectional(layers.LSTM(3, return_state=True))
    decoder = layers.Bidirectional(layers.LSTM(3, return_sequences=True))
    _, *states = encoder(x)
    found = decoder(x, initial_state=states)
    torch.testing.assert_close(decoder([x, *states]), found)
    torch.testing.assert_close(found[:, 0, :3], decoder.forward_layer.cell(x[:, 0], states[:2])[0])
    with pytest.raises(ValueError, match="as many states for each way.*3"):
        decoder(x, initial_state=states[:3])
    inputs = keras.Input((4, 3))
    _, *states = encoder(inputs)
    model = keras.Model(inputs, decoder(inputs, initial_state=states))
    torch.testing.assert_close(model(x), found)


def test_constants_are_given_to_both_ways():
    class Cell(layers.Layer):
        state_size = output_size = 3

        def call(self, inputs, states, constants):
            return states[0] + constants[0], [states[0] + constants[0]]

    x, constant = torch.rand(2, 4, 5), torch.rand(2, 3)
    expected = torch.cat([constant * 4] * 2, -1)
    with keras.utils.custom_object_scope({"Cell": Cell}):
        layer = layers.Bidirectional(layers.RNN(Cell()))
    torch.testing.assert_close(layer(x, constants=[constant]), expected)
    torch.testing.assert_close(layer([x, constant]), expected)


def test_stateful():
    layer = layers.Bidirectional(layers.GRU(3, stateful=True, return_state=True))
    x = torch.rand(2, 4, 5)
    first = layer(x)
    assert not torch.allclose(layer(x)[0], first[0])
    assert len(layer.states) == 2
    layer.reset_states()
    torch.testing.assert_close(layer(x)[0], first[0])
    with pytest.raises(AttributeError, match="stateful"):
        layers.Bidirectional(layers.GRU(3)).reset_state()


@pytest.mark.parametrize("merge_mode", ["concat", "sum", None])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_one_kernel_for_both_ways_of_an_lstm(merge_mode, return_sequences, use_bias):
    config = {"return_sequences": return_sequences, "return_state": True, "use_bias": use_bias}
    layer = layers.Bidirectional(layers.LSTM(3, **config), merge_mode)
    x, states = torch.rand(2, 4, 5), [torch.rand(2, 3) for _ in range(4)]
    layer(x)
    for given in (None, states):
        assert layer._is_one_kernel()
        at_once = layer(x, initial_state=given)
        # A hook wants each way to be called.
        hook = layer.forward_layer.register_forward_hook(lambda *_: None)
        assert not layer._is_one_kernel()
        apart = layer(x, initial_state=given)
        hook.remove()
        for mine, other in zip(at_once, apart, strict=True):
            torch.testing.assert_close(mine, other)


def test_integers_become_floats():
    layer = layers.Bidirectional(layers.LSTM(3))
    x = torch.randint(5, (2, 4, 5))
    torch.testing.assert_close(layer(x), layer(x.float()))


def test_initial_state_is_a_list():
    layer = layers.Bidirectional(layers.LSTM(3))
    with pytest.raises(ValueError, match="list of as many states"):
        layer(torch.rand(2, 4, 5), initial_state=torch.rand(2, 3))


def test_dropout_and_other_activations_take_the_ways_apart():
    for config in ({"dropout": 0.5}, {"recurrent_dropout": 0.5}):
        layer = layers.Bidirectional(layers.LSTM(3, **config))
        layer(torch.rand(2, 4, 5))
        assert layer._is_one_kernel()
        layer.train()
        assert not layer._is_one_kernel()
    layer = layers.Bidirectional(layers.LSTM(3, activation="relu"))
    assert not layer._is_one_kernel()


def test_initial_weights():
    layer = layers.Bidirectional(layers.LSTM(2))
    layer(torch.rand(1, 3, 4))
    again = layers.Bidirectional(layers.LSTM(2), weights=layer.get_weights())
    again(torch.rand(1, 3, 4))
    for mine, other in zip(again.get_weights(), layer.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda: layers.Bidirectional(layers.Dense(2)), "recurrent layer"),
        (lambda: layers.Bidirectional("lstm"), "recurrent layer.*lstm"),
        (lambda: layers.Bidirectional(layers.LSTM(2), merge_mode="max"), "merge_mode.*'max'"),
        (
            lambda: layers.Bidirectional(layers.LSTM(2), backward_layer=layers.LSTM(2)),
            "go_backwards",
        ),
        (
            lambda: layers.Bidirectional(
                layers.LSTM(2, return_state=True), backward_layer=layers.LSTM(2, go_backwards=True)
            ),
            "return_state",
        ),
        (lambda: layers.Bidirectional(layers.LSTM(2), backward_layer=3), "backward_layer.*3"),
    ],
)
def test_errors_of_bidirectional(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ----------------------------------------------------------------------------------- ConvLSTM


def test_dropped_parts_of_a_conv_lstm():
    layer = layers.ConvLSTM2D(2, 3, padding="same", dropout=0.5, recurrent_dropout=0.5, seed=3)
    x = torch.rand(2, 3, 5, 5, 2)
    plain = layer(x)
    torch.testing.assert_close(layer(x), plain)
    first, second = layer(x, training=True), layer(x, training=True)
    assert not torch.allclose(first, second) and not torch.allclose(first, plain)
    # Where nothing is dropped, the way of each gate by itself gives what all at once gives.
    cell = layer.cell
    ones = [torch.ones(2, 5, 5, 2)] * 4
    torch.testing.assert_close(
        cell._convolved(cell.conv, x[:, 0], ones), cell._convolved(cell.conv, x[:, 0], None)
    )


def test_steps_of_a_cell_equal_the_sequence():
    layer = layers.ConvLSTM1D(2, 2, strides=2, padding="same", return_state=True)
    x = torch.rand(3, 4, 5, 2)
    output, state, carry = layer(x)
    states = layer.cell.get_initial_state(3)
    for step in x.unbind(1):
        found, states = layer.cell(step, states)
    for mine, other in zip((found, *states), (output, state, carry), strict=True):
        torch.testing.assert_close(mine, other)


def test_errors_of_conv_lstm():
    with pytest.raises(ValueError, match="strides.*dilation_rate"):
        layers.ConvLSTM2D(2, 3, strides=2, dilation_rate=2)
    with pytest.raises(ValueError, match="filters.*0"):
        layers.ConvLSTM2D(0, 3)
    layer = layers.ConvLSTM2D(2, 3, name="frames")
    with pytest.raises(ValueError, match="'frames'.*rank 5"):
        layer(torch.rand(2, 3, 4, 5))
    with pytest.raises(ValueError, match="kernel_size"):
        layer(torch.rand(2, 3, 2, 2, 1))
    layer = layers.ConvLSTM2D(2, 2)
    with pytest.raises(ValueError, match="initial state of shape \\(2, 3, 3, 2\\)"):
        layer(torch.rand(2, 3, 4, 4, 1), initial_state=[torch.rand(2, 4, 4, 2)] * 2)


def test_conv_lstm_of_unknown_sizes():
    inputs = keras.Input((None, None, None, 1))
    outputs = layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True)(inputs)
    assert outputs.shape == (None, None, None, None, 2)
    model = keras.Model(inputs, outputs)
    assert model(torch.rand(2, 3, 5, 4, 1)).shape == (2, 3, 5, 4, 2)


def test_conv_lstm_of_earlier_versions():
    old = layers.ConvLSTM2D(
        nb_filter=2, nb_row=3, nb_col=2, border_mode="same", inner_activation="sigmoid"
    )
    assert (old.filters, old.kernel_size, old.padding) == (2, (3, 2), "same")
    with eras.using("2"):
        gate = layers.ConvLSTM2D(2, 3).recurrent_activation
    assert gate(torch.tensor([-2.5, 1.0, 2.5])).tolist() == pytest.approx([0, 0.7, 1])
    with eras.using("1"):
        assert layers.ConvLSTM2D(2, 3, 2).kernel_size == (3, 2)


# ------------------------------------------------------------------------------------- training


def distributed(inputs):
    x = layers.TimeDistributed(layers.Dense(4, activation="tanh"))(inputs)
    x = layers.TimeDistributed(layers.BatchNormalization())(x)
    return layers.Flatten()(x)


def both_ways(inputs):
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(inputs)
    return layers.Bidirectional(layers.GRU(3), merge_mode="sum")(x)


def masked(inputs):
    x = layers.Masking()(inputs)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    return layers.Bidirectional(layers.SimpleRNN(3))(x)


def convolved(inputs):
    x = layers.Reshape((4, 3, 3, 1))(inputs)
    x = layers.ConvLSTM2D(2, 2, padding="same", return_sequences=True)(x)
    return layers.Flatten()(layers.ConvLSTM2D(2, 2)(x))


def trained(body, run_eagerly):
    """The losses and weights after three epochs of a network."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4, 9))
    model = keras.Model(inputs, layers.Dense(1)(body(inputs)))
    model.compile("sgd", "mse", run_eagerly=run_eagerly)
    random = np.random.RandomState(0)
    x, y = random.randn(16, 4, 9).astype("float32"), random.randn(16, 1).astype("float32")
    x[::3, 2:] = 0
    history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return history.history["loss"], model.get_weights(), model


@pytest.mark.parametrize("body", [distributed, both_ways, masked, convolved])
def test_captured_training_equals_eager(body):
    losses, weights, model = trained(body, False)
    assert model.step_report().kind == "captured", model.step_report()
    eager_losses, eager_weights, _ = trained(body, True)
    np.testing.assert_allclose(losses, eager_losses, rtol=1e-6)
    for mine, other in zip(weights, eager_weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-6)
