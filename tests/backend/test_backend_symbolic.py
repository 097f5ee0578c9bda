"""Placeholders, functions and gradients: visualisation scripts of Keras 1 and 2 in small."""

import copy
import pickle

import numpy as np
import pytest
import torch

from torchkeras import backend as K, layers, models
from torchkeras.graph import KerasTensor


@pytest.fixture
def model():
    """Two layers with dropout between, and a batch for them."""
    x = layers.Input((4,))
    hidden = layers.Dense(6, activation="tanh", name="hidden")(x)
    dropped = layers.Dropout(0.5, name="drop")(hidden)
    y = layers.Dense(3, activation="softmax", name="top")(dropped)
    return models.Model(x, y)


BATCH = np.random.RandomState(1).rand(5, 4).astype("float32")


def gradient_of(model, function):
    """Differentiate a function of the model's output by its input, with torch alone."""
    x = torch.tensor(BATCH, requires_grad=True)
    return torch.autograd.grad(function(model(x)), x)[0].numpy()


class TestFunction:
    def test_features_of_a_layer(self, model):
        features = K.function([model.input], [model.get_layer("hidden").output, model.output])
        hidden, y = features([BATCH])
        assert isinstance(hidden, np.ndarray) and hidden.shape == (5, 6)
        assert np.allclose(y, model(BATCH).detach(), atol=1e-6)

    def test_the_form_of_the_outputs(self, model):
        single = K.function(model.input, model.output)
        assert single(BATCH).shape == single([BATCH]).shape == (5, 3)
        named = K.function([model.input], {"y": model.output})
        assert named([BATCH])["y"].shape == (5, 3)

    def test_learning_phase_as_input(self, model):
        run = K.function([model.input, K.learning_phase()], [model.get_layer("drop").output])
        hidden = K.function([model.input], [model.get_layer("hidden").output])([BATCH])[0]
        assert np.array_equal(run([BATCH, 0])[0], hidden)
        dropped = run([BATCH, 1.0])[0]
        kept = dropped != 0
        assert 0 < kept.mean() < 1
        assert np.allclose(dropped[kept], 2 * hidden[kept])
        assert not model.training and not model.get_layer("drop").training

    def test_training_models_infer_and_come_back(self, model):
        model.train()
        run = K.function([model.input], [model.output])
        assert np.array_equal(run([BATCH])[0], run([BATCH])[0])
        assert model.training and model.get_layer("drop").training

    def test_fixed_learning_phase(self, model):
        run = K.function([model.input], [model.get_layer("drop").output])
        K.set_learning_phase(1)
        try:
            assert (run([BATCH])[0] == 0).any()
        finally:
            K.clear_session()

    def test_from_the_middle(self, model):
        hidden = model.get_layer("hidden").output
        run = K.function(
            [hidden], [model.output, K.gradients(K.sum(model.output[:, 0]), hidden)[0]]
        )
        values = K.function([model.input], [hidden])([BATCH])[0]
        y, gradient = run([values])
        assert np.allclose(y, model(BATCH).detach(), atol=1e-6)
        assert gradient.shape == (5, 6) and np.abs(gradient).max() > 0

    def test_placeholders(self):
        x, y = K.placeholder((None, 2)), K.placeholder(ndim=2, name="y")
        assert K.is_placeholder(x) and y.shape == (None, None) and y.name == "y"
        total = K.sum(x * y + 1)
        assert not K.is_placeholder(total)
        run = K.function([x, y], [total])
        assert run([np.ones((3, 2)), np.full((3, 2), 2.0)])[0] == 18

    def test_scalar_placeholder(self):
        rate = K.placeholder(shape=())
        assert K.function([rate], [rate * 2])([1.5])[0] == 3

    def test_a_placeholder_enters_a_model(self):
        x = K.placeholder((None, 3))
        model = models.Model(x, layers.Dense(2)(x))
        assert model(np.ones((4, 3))).shape == (4, 2)

    def test_updates(self):
        x, total, last = K.placeholder((None,)), K.variable(0.0), K.variable(5.0)
        run = K.function(
            [x],
            [K.max(x) + total],
            updates=[K.update_add(total, K.sum(x)), (last, K.max(x))],
        )
        assert run([[1.0, 2.0]])[0] == 2
        assert run([[3.0]])[0] == 6
        assert K.eval(total) == 6 and K.eval(last) == 3

    def test_variables_and_tensors_among_outputs(self):
        v = K.variable([1.0])
        run = K.function([], [v, torch.tensor(2.0)])
        K.set_value(v, [4.0])
        assert run([]) == [[4.0], 2.0]

    def test_integers_are_cast_to_the_placeholders_dtype(self):
        x = K.placeholder((None, 2))
        assert K.function([x], [x])([[[1, 2]]])[0].dtype == np.float32

    def test_errors(self, model):
        with pytest.raises(TypeError, match="inputs are symbolic tensors"):
            K.function([torch.ones(2)], [model.output])
        with pytest.raises(ValueError, match="an output is None"):
            K.function([model.input], K.gradients(model.output, K.placeholder((2,))))
        with pytest.raises(ValueError, match="2 inputs are needed; received 1"):
            K.function([model.input, K.learning_phase()], [model.output])([BATCH])
        with pytest.raises(ValueError, match="Graph disconnected"):
            K.function([K.placeholder((2,))], [model.output])
        with pytest.raises(ValueError, match="give `shape`"):
            K.placeholder()
        with pytest.raises(ValueError, match="sparse"):
            K.placeholder((2,), sparse=True)


class TestGradients:
    def test_saliency(self, model):
        loss = K.mean(model.output[:, 1])
        gradients = K.gradients(loss, model.input)[0]
        assert isinstance(gradients, KerasTensor) and gradients.shape == (None, 4)
        value, found = K.function([model.input], [loss, gradients])([BATCH])
        assert value == pytest.approx(model(BATCH)[:, 1].mean().item(), rel=1e-5)
        expected = gradient_of(model, lambda y: y[:, 1].mean())
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)

    def test_normalized_gradient_of_a_filter_visualisation(self, model):
        gradients = K.gradients(K.sum(model.output[:, 0]), model.input)[0]
        gradients /= K.sqrt(K.mean(K.square(gradients))) + 1e-5
        found = K.function([model.input], [gradients])([BATCH])[0]
        plain = gradient_of(model, lambda y: y[:, 0].sum())
        expected = plain / (np.sqrt((plain**2).mean()) + 1e-5)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)

    def test_grad_cam_by_a_layers_output(self, model):
        layer = model.get_layer("hidden").output
        gradients = K.gradients(model.output[:, 2], layer)[0]
        pooled = K.mean(gradients, axis=0)
        weights, values = K.function([model.input], [pooled, layer[0]])([BATCH])
        hidden = torch.tensor(K.function([model.input], [layer])([BATCH])[0], requires_grad=True)
        y = model.get_layer("top")(hidden)[:, 2].sum()
        expected = torch.autograd.grad(y, hidden)[0].mean(0)
        np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-7)
        assert np.array_equal(values, hidden[0].detach())

    def test_frozen_layer_on_integers(self):
        x = layers.Input((2,), dtype="int32")
        rows = layers.Lambda(lambda i: K.cast(i, "float32"), name="cast")(x)
        frozen = layers.Dense(3, trainable=False, name="frozen")
        loss = K.sum(K.square(frozen(rows)))
        gradient = K.gradients(loss, frozen.output)[0]
        values, found = K.function([x], [frozen.output, gradient])([[[1, 2]]])
        np.testing.assert_allclose(found, 2 * values, rtol=1e-6)
        assert not frozen.kernel.parameter.requires_grad

    def test_of_weights(self, model):
        loss = K.mean(K.square(model.output))
        kernel = model.get_layer("top").kernel
        found = K.function([model.input], K.gradients(loss, [kernel, model.input]))([BATCH])
        expected = torch.autograd.grad(model(BATCH).square().mean(), kernel.parameter)[0].t()
        np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-8)
        assert found[1].shape == (5, 4)

    def test_descent_by_updates(self):
        v = K.variable([4.0, -2.0])
        x = K.placeholder((2,))
        loss = K.sum(K.square(v - x))
        step = K.function([x], [loss], updates=[K.update_sub(v, 0.25 * K.gradients(loss, v)[0])])
        values = [step([[0.0, 0.0]])[0] for _ in range(3)]
        assert values == [20, 5, 1.25] and K.eval(v).tolist() == [0.5, -0.25]

    def test_second_order(self):
        x = K.placeholder((None,))
        first = K.gradients(K.sum(x * x * x), x)[0]
        second = K.gradients(K.sum(first), x)[0]
        assert np.allclose(K.function([x], [first, second])([[1.0, 2.0]]), [[3, 12], [6, 12]])

    def test_style_of_a_combination_image(self):
        base = K.variable(np.full((1, 2), 3.0))
        combination = K.placeholder((1, 2))
        both = layers.Dense(2, use_bias=False)(K.concatenate([base, combination], axis=0))
        loss = K.variable(0.0)
        loss = loss + 0.5 * K.sum(K.square(both[0] - both[1]))
        run = K.function([combination], [loss, K.gradients(loss, combination)[0]])
        assert run([np.full((1, 2), 3.0)])[0] == 0
        assert np.abs(run([np.zeros((1, 2))])[1]).max() > 0

    def test_unreached_is_none(self, model):
        other = K.placeholder((None, 2))
        assert K.gradients(model.output, [other]) == [None]
        found = K.gradients(model.output, [other, model.input])
        assert found[0] is None and found[1].shape == (None, 4)

    def test_of_real_tensors(self):
        x, v = torch.tensor([1.0, 2.0], requires_grad=True), K.variable([3.0, 4.0])
        unused = torch.ones(1, requires_grad=True)
        by_x, by_v, by_unused, by_constant = K.gradients(
            [K.square(x) * v, x], [x, v, unused, torch.ones(1)]
        )
        assert by_x.tolist() == [7, 17] and by_v.tolist() == [1, 4]
        assert by_unused is by_constant is None
        penalty = K.sum(K.square(K.gradients(x * x * x, x)[0]))
        assert K.gradients(penalty, x)[0].tolist() == [36, 288]

    def test_of_a_layers_weight_in_its_layout(self):
        layer = layers.Dense(2, use_bias=False)
        loss = K.sum(layer(np.array([[1.0, 2.0, 3.0]])))
        assert K.gradients(loss, layer.kernel)[0].tolist() == [[1, 1], [2, 2], [3, 3]]

    def test_without_gradients(self):
        with pytest.raises(ValueError, match="computed without gradients"):
            K.gradients(torch.ones(2), torch.ones(2))


class TestSymbolicShapes:
    def test_shape_as_it_will_be(self):
        x = K.placeholder((None, 3))
        sizes = K.shape(x)
        assert isinstance(sizes, KerasTensor) and sizes.shape == (2,) and sizes.dtype == "int32"
        noise = x + 0 * K.random_normal(sizes)
        column = K.reshape(x, (sizes[0], 3, 1))
        more = K.tile(column, [1, 1, sizes[1]])
        filled = K.zeros((sizes[0], 2))
        counted = K.arange(0, sizes[0])
        assert noise.shape == (None, 3) and column.shape == (None, 3, 1)
        assert more.shape == (None, 3, None) and filled.shape == (None, 2)
        assert counted.shape == (None,)
        found = K.function([x], [sizes, noise, column, more, filled, counted])([np.ones((4, 3))])
        assert found[0].tolist() == [4, 3] and np.array_equal(found[1], np.ones((4, 3)))
        assert [f.shape for f in found[2:]] == [(4, 3, 1), (4, 3, 3), (4, 2), (4,)]

    def test_known_shape(self):
        assert K.shape(K.placeholder((2, 3))) == (2, 3)

    def test_loss_of_deep_dream(self):
        x = K.placeholder((None, 4, 4, 1))
        loss = K.sum(K.square(x[:, 1:-1, 1:-1, :])) / K.prod(K.cast(K.shape(x), "float32"))
        assert K.function([x], [loss])([np.ones((2, 4, 4, 1))])[0] == 0.25


class TestPhases:
    def test_choice_of_symbolic_tensors_is_made_when_run(self):
        x = K.placeholder((None,))
        for y in (
            K.in_train_phase(x * 2, x),
            K.in_train_phase(lambda: x * 2, lambda: x),
            K.in_test_phase(x, x * 2),
            K.switch(K.learning_phase(), x * 2, x),
        ):
            run = K.function([x, K.learning_phase()], [y])
            assert run([[3.0], 0])[0] == 3 and run([[3.0], 1])[0] == 6

    def test_symbolic_flag(self):
        x, flag = K.placeholder((1,)), K.placeholder((), dtype="bool")
        run = K.function([x, flag], [K.in_train_phase(x * 2, x, training=flag)])
        assert run([[3.0], True])[0] == 6 and run([[3.0], False])[0] == 3


class TestGraphs:
    def test_functions_make_layers_of_a_model(self):
        x = layers.Input((3,))
        model = models.Model(x, K.mean(K.square(layers.Dense(2)(x)), axis=-1))
        expected = model(np.ones((2, 3))).detach()
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(other(np.ones((2, 3))), expected)

    def test_print_tensor(self, capsys):
        x = K.placeholder((None,))
        y = K.print_tensor(x, message="x is")
        K.print_tensor(K.cast(x, "int32"))
        assert capsys.readouterr().out == ""
        assert K.function([x], [y])([[2.0]])[0] == 2
        assert capsys.readouterr().out == "x is [2.]\n"

    def test_eval(self):
        assert K.eval(K.variable([1.0]) + 1).tolist() == [2]
        with pytest.raises(ValueError, match="Graph disconnected"):
            K.eval(K.placeholder((1,)) * 2)

    def test_in_a_lambda(self):
        x = layers.Input((2,))
        mean, spread = layers.Dense(2)(x), layers.Dense(2)(x)

        def sample(args):
            mean, spread = args
            noise = K.random_normal(shape=(K.shape(mean)[0], K.int_shape(mean)[1]), stddev=0.0)
            return mean + K.exp(spread / 2) * noise

        model = models.Model(x, [layers.Lambda(sample)([mean, spread]), mean])
        sampled, plain = model(np.ones((3, 2)))
        assert torch.equal(sampled, plain)

    def test_a_tensor_the_function_cannot_take(self):
        with pytest.raises(ValueError, match="squeeze"):
            K.squeeze(K.placeholder((None, 3)), 1)
