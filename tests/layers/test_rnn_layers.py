"""Recurrent layers: cells of users, states, masks, kernels, old arguments and errors."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import torchkeras as keras
from torchkeras import eras, layers, ops
from torchkeras.layers.rnn_cell import DropoutRNNCell

LAYERS = {
    "SimpleRNN": layers.SimpleRNN,
    "LSTM": layers.LSTM,
    "GRU": layers.GRU,
    "GRU, reset before": lambda *args, **kwargs: layers.GRU(*args, reset_after=False, **kwargs),
}
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def draw(*shape, seed=0):
    return torch.tensor(np.random.RandomState(seed).randn(*shape).astype("float32"))


def close(one, other, atol=1e-6):
    np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-5, atol=atol)


# --------------------------------------------------------------------------------- cells


class Minimal(layers.Layer):
    """A cell as Keras' documentation has it."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units), "uniform", name="kernel")
        self.recurrent_kernel = self.add_weight((self.units, self.units), "uniform", name="r")
        self.built = True

    def call(self, inputs, states):
        output = ops.matmul(inputs, self.kernel) + ops.matmul(states[0], self.recurrent_kernel)
        return output, [output]


class Accumulator:
    """A cell that is no layer: counts its steps and adds up its inputs."""

    state_size = [3, 1]
    output_size = 3

    def call(self, inputs, states):
        total, count = states[0] + inputs, states[1] + 1
        return total / count, [total, count]


class Scaled(layers.Layer):
    """A cell that takes constants."""

    state_size = 3

    def build(self, shapes):
        assert [tuple(shape)[-1] for shape in shapes] == [3, 3]
        self.built = True

    def call(self, inputs, states, constants):
        output = inputs * constants[0] + states[0]
        return output, [output]


class Ones(layers.Layer):
    """A cell of tf.keras, with states of its own to begin with."""

    state_size = [2]

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        return [torch.ones(batch_size, 2)]

    def call(self, inputs, states):
        return states[0] * 2, [states[0] * 2]


class Dropping(DropoutRNNCell, layers.Layer):
    """A cell with dropout, written by a user."""

    state_size = 4
    dropout = 0.5

    def call(self, inputs, states, training=False):
        if training:
            inputs = inputs * self.get_dropout_mask(inputs)
        return inputs + 0 * states[0], [inputs]


def test_a_cell_of_a_user():
    layer = layers.RNN(Minimal(3), return_sequences=True)
    x = draw(2, 4, 5)
    got, state = layer(x), torch.zeros(2, 3)
    kernel, recurrent = (weight.value for weight in layer.weights)
    for step in range(4):
        state = x[:, step] @ kernel + state @ recurrent
        close(got[:, step], state)


def test_a_cell_that_is_no_layer():
    x = draw(2, 4, 3)
    output, total, count = layers.RNN(Accumulator(), return_state=True)(x)
    close(output, x.mean(1))
    close(total, x.sum(1))
    assert count.tolist() == [[4.0], [4.0]]


def test_the_own_loop_and_a_mask():
    x = draw(2, 5, 3)
    mask = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    layer = layers.RNN(Accumulator(), return_state=True, return_sequences=True)
    outputs, total, count = layer(x, mask=mask)
    close(total[0], x[0, 0] + x[0, 2])
    assert count.tolist() == [[2.0], [0.0]]
    close(outputs[0, 1], x[0, 0])
    close(outputs[0, 4], (x[0, 0] + x[0, 2]) / 2)
    assert not outputs[1].any()
    layer.zero_output_for_mask = True
    assert not layer(x, mask=mask)[0][0, [1, 3, 4]].any()


def test_constants():
    x, constant = draw(2, 4, 3), draw(2, 3, seed=1)
    layer = layers.RNN(Scaled())
    close(layer(x, constants=constant), (x * constant[:, None]).sum(1))
    assert layer.get_config()["num_constants"] == 1
    state = draw(2, 3, seed=2)
    close(layer([x, state, constant]), state + (x * constant[:, None]).sum(1))


def test_constants_that_a_cell_does_not_take():
    with pytest.raises(ValueError, match="Accumulator takes none"):
        layers.RNN(Accumulator())(draw(2, 4, 3), constants=[draw(2, 3)])


def test_states_that_a_cell_begins_with():
    assert layers.RNN(Ones())(draw(3, 4, 1)).unique().tolist() == [16.0]


def test_dropout_masks_hold_for_a_sequence():
    layer = layers.RNN(Dropping(), return_sequences=True)
    outputs = layer(torch.ones(2, 50, 4), training=True)
    assert (outputs == outputs[:, :1]).all()
    assert set(outputs.unique().tolist()) <= {0.0, 2.0}
    first = [layer(torch.ones(20, 2, 4), training=True) for _ in range(2)]
    assert (first[0] != first[1]).any()


def test_abstract_cell():
    class Cell(layers.AbstractRNNCell):
        state_size = output_size = 3

        def call(self, inputs, states):
            return inputs + states[0], [inputs + states[0]]

    x = draw(2, 4, 3)
    close(layers.RNN(Cell())(x), x.sum(1))
    with pytest.raises(NotImplementedError, match="state_size"):
        getattr(layers.AbstractRNNCell(), "state_size")  # noqa: B009


def test_a_stack_is_layer_upon_layer():
    cells = [layers.LSTMCell(3), layers.GRUCell(4)]
    stack = layers.RNN(cells, return_sequences=True, return_state=True)
    x = draw(2, 5, 3)
    outputs, first, second = stack(x)
    lower = layers.RNN(cells[0], return_sequences=True, return_state=True)
    upper = layers.RNN(cells[1], return_sequences=True, return_state=True)
    between, *state = lower(x)
    expected, other = upper(between)
    close(outputs, expected)
    close(second, other)
    close(first[0], state[0])
    close(first[1], state[1])
    assert stack.compute_output_shape((2, 5, 3)) == ((2, 5, 4), [(2, 3), (2, 3)], (2, 4))
    with eras.using("2"):
        assert stack.cell.state_size == (3, 3, 4)
        assert [one.shape[-1] for one in stack(x)[1:]] == [3, 3, 4]
    # A cell of a user in the stack: step by step, the same numbers.
    mixed = layers.RNN([cells[0], cells[1], Minimal(2)])
    assert mixed(x).shape == (2, 2)
    assert [weight.path.split("/")[0] for weight in mixed.weights[-2:]] == [mixed.name] * 2


# --------------------------------------------------------------------------------- weights


@each_layer
def test_initial_weights(make):
    layer = make(40)
    layer.build((None, 5, 30))
    kernel, recurrent, bias = (weight.numpy() for weight in layer.weights)
    limit = np.sqrt(6 / sum(kernel.shape))
    assert limit * 0.95 < np.abs(kernel).max() <= limit
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(40), atol=1e-5)
    expected = np.zeros_like(bias)
    if "LSTM" in type(layer).__name__:
        expected[40:80] = 1
    np.testing.assert_array_equal(bias, expected)


def test_weights_lie_in_torchs_modules():
    lstm, x = layers.LSTM(4, return_sequences=True), draw(2, 5, 3)
    outputs = lstm(x)
    plain = nn.LSTM(3, 4, batch_first=True)
    plain.load_state_dict(lstm.cell.lstm.state_dict())
    close(plain(x)[0], outputs)
    gru = layers.GRU(4, return_sequences=True)
    close(gru(x), gru.cell.gru(x)[0])
    gru.cell.bias.assign(draw(2, 12))
    close(gru(x), gru.cell.gru(x)[0])
    with pytest.raises(ValueError, match="reset_after=False"):
        before = layers.GRU(4, reset_after=False)
        before(x)
        before.cell.gru(x)


def test_the_second_bias_is_no_weight():
    layer = layers.LSTM(4)
    layer(draw(2, 5, 3))
    assert [weight.name for weight in layer.weights] == ["kernel", "recurrent_kernel", "bias"]
    assert layer.count_params() == 3 * 16 + 4 * 16 + 16
    layer.trainable = False
    layer.trainable = True
    assert not layer.cell.lstm.bias_hh_l0.requires_grad


def test_adding_to_a_weight_in_another_order():
    layer = layers.GRU(2)
    layer.build((None, 3, 2))
    before = layer.cell.kernel.numpy()
    layer.cell.kernel.assign_add(np.arange(12.0).reshape(2, 6))
    np.testing.assert_allclose(layer.cell.kernel.numpy() - before, np.arange(12.0).reshape(2, 6))
    layer.cell.kernel.assign_sub(before[:1])
    expected = before + np.arange(12.0).reshape(2, 6) - before[:1]
    np.testing.assert_allclose(layer.cell.kernel.numpy(), expected, rtol=1e-6)


def test_regularizers_and_constraints_of_the_recurrent_kernel():
    layer = layers.GRU(3, recurrent_regularizer="l2", recurrent_constraint="non_neg")
    layer(draw(2, 4, 3))
    recurrent = layer.cell.recurrent_kernel
    expected = 0.01 * (recurrent.value**2).sum()
    close(layer.losses[0], expected)
    assert recurrent.constraint is layer.recurrent_constraint


def test_changing_an_activation_later():
    layer = layers.LSTM(3)
    x = draw(2, 4, 3)
    before = layer(x)
    layer.activation = keras.activations.relu
    assert layer.cell.activation is keras.activations.relu
    assert not torch.allclose(before, layer(x))


# --------------------------------------------------------------------------------- kernels


@pytest.mark.parametrize(
    "name, kernel", [("SimpleRNN", "rnn_tanh"), ("LSTM", "lstm"), ("GRU", "gru")]
)
def test_torchs_kernels_are_used(name, kernel, monkeypatch):
    called = []
    function = getattr(torch, kernel)
    counted = lambda *args: called.append(kernel) or function(*args)  # noqa: E731
    monkeypatch.setattr(torch, kernel, counted)
    if name == "SimpleRNN":
        from torchkeras.layers import rnn_simple

        monkeypatch.setitem(rnn_simple._KERNELS, keras.activations.tanh, counted)
    x, mask = draw(2, 5, 3), torch.tensor([[1, 1, 1, 0, 0], [0, 1, 0, 1, 1]], dtype=torch.bool)
    make = LAYERS[name]
    with torch.no_grad():
        for layer in (make(4), make(4, return_sequences=True), make(4, dropout=0.5)):
            layer(x)
            layer(x, mask=mask)
            layer(x, training=True)
        assert len(called) == 9
        make(4, recurrent_dropout=0.5)(x, training=True)
        make(4, activation="softsign")(x)
        make(4, use_cudnn=False)(x)
        assert len(called) == 9


def test_use_cudnn_that_cannot_be():
    layer = layers.LSTM(3, use_cudnn=True, recurrent_activation="hard_sigmoid")
    with pytest.raises(ValueError, match="use_cudnn=True.*no kernel"):
        layer(draw(2, 4, 3))
    with pytest.raises(ValueError, match="use_cudnn must be"):
        layers.GRU(3, use_cudnn="yes")


@each_layer
def test_the_loop_gives_the_kernels_numbers(make):
    x = draw(3, 7, 4)
    fused = make(5, return_sequences=True, return_state=True)
    fused(x)
    slow = make(5, return_sequences=True, return_state=True, use_cudnn=False)
    slow.build(x.shape)
    slow.set_weights(fused.get_weights())
    by_step = layers.RNN(fused.cell, return_sequences=True, return_state=True)
    fused.cell.bias.assign(draw(*fused.cell.bias.shape))
    slow.set_weights(fused.get_weights())
    fast, loop = fused(x), slow(x)
    by_step.built = True
    by_step._is_run_over = lambda: False
    gradients = []
    for found in (fast, loop, by_step(x)):
        for one, other in zip(found, fast, strict=True):
            close(one, other)
        sum(one.square().sum() for one in found).backward()
        gradients.append([w.parameter.grad for w in (slow if found is loop else fused).weights])
        for weight in (*fused.weights, *slow.weights):
            weight.parameter.grad = None
    for found in gradients[1:]:
        for one, other in zip(found, gradients[0], strict=True):
            close(one, other, 1e-5)


def test_second_derivatives_of_gru():
    layer = layers.GRU(3)
    layer.double()
    x = draw(2, 4, 3).double().requires_grad_()
    layer(x)
    assert torch.autograd.gradgradcheck(lambda one: layer(one), (x,))
    assert torch.autograd.gradcheck(lambda one: layer(one), (x,))


@each_layer
def test_export_and_half_precision(make):
    layer = make(3)
    x = draw(2, 4, 3)
    expected = layer(x)
    exported = torch.export.export(layer, (x,))
    close(exported.module()(x), expected)
    half = make(3, dtype="mixed_bfloat16")
    half.build(x.shape)
    half.set_weights(layer.get_weights())
    got = half(x)
    assert got.dtype is torch.bfloat16
    close(got.float(), expected, 0.02)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}


# ---------------------------------------------------------------------------------- states


@each_layer
def test_stateful(make):
    x = draw(2, 6, 3)
    plain, stateful = make(4), make(4, stateful=True)
    plain(x)
    stateful(x[:, :2])
    stateful.set_weights(plain.get_weights())
    stateful.reset_state()
    parts = [stateful(x[:, at : at + 2]) for at in (0, 2, 4)]
    close(parts[-1], plain(x))
    close(stateful.states[0].value, plain(x))
    assert [name for name in stateful.state_dict() if "state" in name] == []
    assert len(stateful.weights) == 3
    stateful.reset_states()
    close(stateful(x), plain(x))
    given = [draw(2, 4, seed=at) for at in range(len(stateful.states))]
    stateful.reset_states([one.numpy() for one in given])
    close(stateful(x), plain(x, initial_state=given))


def test_a_stateful_layer_trains():
    layer = layers.LSTM(4, stateful=True)
    for _ in range(3):
        layer(draw(2, 6, 3)).sum().backward()
    assert layer.cell.lstm.weight_ih_l0.grad.abs().sum() > 0


def test_states_from_an_encoder():
    source, target = keras.Input((None, 3)), keras.Input((None, 4))
    _, *states = layers.LSTM(5, return_state=True)(source)
    decoded = layers.LSTM(5, return_sequences=True)(target, initial_state=states)
    model = keras.Model([source, target], decoded)
    assert model.output_shape == (None, None, 5)
    x, y = draw(2, 6, 3), draw(2, 4, 4)
    encoder, decoder = (layer for layer in model.layers if isinstance(layer, layers.LSTM))
    close(model([x, y]), decoder(y, initial_state=list(encoder(x)[1:])))
    # As in Keras 1 and 2: states in the list of inputs.
    close(model([x, y]), decoder([y, *encoder(x)[1:]]))
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    close(again([x, y]), model([x, y]))


def test_masks_beside_states():
    x, state = draw(2, 4, 3), draw(2, 5, seed=3)
    layer = layers.GRU(5)
    masked = layers.Masking()(torch.cat([x[:, :2], torch.zeros(2, 2, 3)], 1))
    plain = layer(masked, initial_state=state)
    assert not torch.allclose(plain, layer(masked[:, :2], initial_state=state))
    with eras.using("2"):
        close(layer(masked, initial_state=state), layer(x[:, :2], initial_state=state))


def test_time_major():
    x = draw(2, 6, 3)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [0, 1, 0, 1, 1, 1]], dtype=torch.bool)
    layer = layers.LSTM(4, return_sequences=True, return_state=True)
    other = layers.LSTM(4, return_sequences=True, return_state=True, time_major=True)
    expected = layer(x, mask=mask)
    other.build((6, 2, 3))
    other.set_weights(layer.get_weights())
    outputs, *states = other(x.transpose(0, 1), mask=mask.t())
    close(outputs.transpose(0, 1), expected[0])
    close(states[1], expected[2])
    assert other.compute_output_shape((6, None, 3)) == ((6, None, 4), (None, 4), (None, 4))
    assert other.get_config()["time_major"] is True
    assert "time_major" not in layer.get_config()


# --------------------------------------------------------------------------------- dropout


@each_layer
def test_dropout_in_distribution(make):
    layer = make(1, dropout=0.4, use_bias=False, kernel_initializer="ones", activation="linear")
    x = torch.zeros(4000, 1, 1)
    layer(x)
    cell = layer.cell
    masks = []
    for _ in range(3):
        cell.reset_dropout_mask()
        masks.append(cell.get_dropout_mask(torch.ones(4000, 5)))
        cell.reset_dropout_mask()
    kept = torch.stack(masks)
    assert abs((kept == 0).float().mean() - 0.4) < 0.02
    assert abs(kept.mean() - 1) < 0.03
    assert (layer(x + 1) == layer(x + 1)).all()  # none in inference


@each_layer
def test_dropout_differs_between_batches_and_repeats_by_seed(make):
    x = draw(5, 4, 8)
    kwargs = {"dropout": 0.5, "recurrent_dropout": 0.2, "seed": 3}
    one, other = make(6, **kwargs), make(6, **kwargs)
    one.build(x.shape), other.build(x.shape)
    other.set_weights(one.get_weights())
    first = one(x, training=True)
    close(first, other(x, training=True))
    assert not torch.allclose(first, one(x, training=True))


# --------------------------------------------------------------------------- other versions


def test_arguments_of_keras_1():
    from torchkeras.compat import arguments

    table = arguments.RENAMED["LSTM"]
    keras.registry.rename_arguments(arguments.RENAMED)
    layer = layers.LSTM(
        output_dim=4,
        init="uniform",
        inner_init="identity",
        forget_bias_init="zero",
        inner_activation="hard_sigmoid",
        W_regularizer="l2",
        U_regularizer="l1",
        b_regularizer="l2",
        dropout_W=0.1,
        dropout_U=0.2,
        consume_less="gpu",
        input_dim=3,
        input_length=7,
    )
    assert set(table) >= {"output_dim", "consume_less"}
    assert (layer.units, layer.dropout, layer.recurrent_dropout) == (4, 0.1, 0.2)
    assert layer.unit_forget_bias is False
    assert type(layer.recurrent_initializer).__name__ == "Identity"
    assert layer.recurrent_activation is keras.activations.hard_sigmoid
    model = keras.Sequential([layer])
    assert model.input_shape == (None, 7, 3)
    with pytest.raises(ValueError, match="forget_bias_init"):
        layers.LSTM(4, forget_bias_init="uniform")


def test_defaults_of_other_versions():
    with eras.using("1"):
        lstm, gru = layers.LSTM(3), layers.GRU(3)
        steep = keras.activations.get("hard_sigmoid")
    assert lstm.recurrent_activation is gru.recurrent_activation is steep
    assert lstm.implementation == 1 and gru.reset_after is False
    with eras.using("2.3.1"):
        gru = layers.GRU(3)
    assert gru.recurrent_activation is keras.activations.sigmoid and gru.reset_after is False
    with eras.using("tf2"):
        assert layers.GRU(3).reset_after is True


def test_initial_weights_of_other_versions():
    identity = np.eye(3, dtype="float32")
    for era, parts in (("1", 4), ("2.3.1", 4), ("3", 1)):
        with eras.using(era):
            layer = layers.LSTM(3, recurrent_initializer="identity")
            layer.build((None, 4, 3))
        expected = np.zeros((3, 12), "float32")
        expected[:, : 3 * parts] = np.tile(identity, parts)
        np.testing.assert_array_equal(layer.cell.recurrent_kernel.numpy(), expected)
    for era, width in (("1", 50), ("2", 200)):
        with eras.using(era):
            layer = layers.LSTM(50)
            layer.build((None, 4, 30))
        largest = np.abs(layer.cell.kernel.numpy()).max()
        limit = np.sqrt(6 / (30 + width))
        assert 0.95 * limit < largest <= limit


def test_layers_of_cudnn():
    x = draw(2, 5, 3)
    for name, other in (("CuDNNLSTM", layers.LSTM), ("CuDNNGRU", layers.GRU)):
        with eras.using("2"):
            layer = getattr(layers, name)(4, return_sequences=True, kernel_initializer="ones")
        plain = other(4, return_sequences=True)
        plain.build(x.shape)
        layer(x)
        plain.set_weights(layer.get_weights())
        close(plain(x), layer(x))
        again = layers.deserialize(layers.serialize(layer))
        assert type(again) is type(layer) and again.units == 4
        with pytest.raises(ValueError, match="activation cannot be chosen"):
            getattr(layers, name)(4, activation="relu")


# ---------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: layers.LSTM(0), "units must be a positive integer"),
        (lambda: layers.GRU(3, implementation=5), "implementation must be 1 or 2"),
        (lambda: layers.RNN(layers.Dense(3)), "a cell has state_size"),
        (lambda: layers.RNN(3), "a cell has call"),
        (lambda: layers.StackedRNNCells([layers.Dense(3)]), "a cell has state_size"),
        (lambda: layers.LSTM(3)(draw(2, 4)), "expected an input with rank 3"),
        (lambda: layers.LSTM(3)(draw(2, 0, 4)), "one step at least"),
        (lambda: layers.RNN(Accumulator())(draw(2, 0, 3)), "one step at least"),
        (lambda: layers.GRU(3)(keras.Input((4, None))), "size of its input's last axis"),
        (
            lambda: layers.LSTM(3, stateful=True)(keras.Input((4, 2))),
            "needs to know the batch size",
        ),
        (lambda: layers.LSTM(3, unroll=True)(keras.Input((None, 2))), "unroll=True"),
        (
            lambda: layers.LSTM(3)(draw(2, 4, 2), initial_state=[draw(2, 3)]),
            "has 2 states; received 1",
        ),
        (
            lambda: layers.GRU(3)(draw(2, 4, 2), initial_state=[draw(2, 4)]),
            r"state of shape \(2, 3\).*\(2, 4\)",
        ),
        (lambda: layers.GRU(3).reset_state(), "not stateful"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_errors_of_layers_that_are_built():
    layer = layers.LSTM(3, stateful=True)
    layer(draw(2, 4, 2))
    with pytest.raises(ValueError, match="batch size of 2; received 3"):
        layer(draw(3, 4, 2))
    with pytest.raises(ValueError, match="2 at axis -1"):
        layer(draw(2, 4, 5))
    with pytest.raises(ValueError, match="2 states; reset_state received 1"):
        layer.reset_state([np.zeros((2, 3))])
    with pytest.raises(ValueError, match="shape"):
        layer.reset_state([np.zeros((2, 3)), np.zeros((2, 4))])


@each_layer
def test_copies(make):
    layer, x = make(4, stateful=True, return_state=True), draw(2, 5, 3)
    layer(x)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        layer.reset_state(), copied.reset_state()
        for _ in range(2):
            for one, other in zip(copied(x), layer(x), strict=True):
                close(one, other)
        assert copied.cell.kernel.parameter is not layer.cell.kernel.parameter
