"""Variables, settings, names and the learning phase of keras.backend."""

import copy
import pickle

import numpy as np
import pytest
import torch

from torchkeras import backend as K, config, eras, layers, optimizers
from torchkeras.compat import modules
from torchkeras.layers import phase
from torchkeras.variable import Variable


@pytest.fixture(autouse=True)
def fresh_session():
    K.clear_session(free_memory=False)
    yield
    K.clear_session(free_memory=False)


class TestVariables:
    def test_variable(self):
        v = K.variable([[1, 2]], name="counts")
        assert K.is_variable(v) and K.is_tensor(v) and not K.is_keras_tensor(v)
        assert v.name == "counts" and K.dtype(v) == "float32" and K.int_shape(v) == (1, 2)
        assert K.variable(3, dtype="int64").dtype == "int64"
        assert K.variable(1.0, constraint=abs).constraint is abs

    def test_a_variable_is_a_copy(self):
        array, tensor = np.ones(2, "float32"), torch.ones(2)
        for source in (array, tensor, K.variable(array)):
            K.set_value(K.variable(source), [5.0, 5.0])
            assert np.array_equal(K.get_value(source), [1, 1])

    def test_copies_and_pickles(self):
        v = K.variable([1.0, 2.0], name="v")
        other = copy.deepcopy(v)
        K.set_value(other, [3.0, 4.0])
        assert K.get_value(v).tolist() == [1, 2]
        assert K.get_value(pickle.loads(pickle.dumps(other))).tolist() == [3, 4]

    def test_sparse_arrays_become_dense(self):
        class Sparse:
            def toarray(self):
                return np.eye(2)

        assert K.eval(K.variable(Sparse())).tolist() == [[1, 0], [0, 1]]

    def test_filled(self):
        assert isinstance(K.zeros((2, 3)), Variable) and isinstance(K.ones(2), Variable)
        assert K.eval(K.zeros((2, 3))).shape == (2, 3) and K.eval(K.ones((2,))).tolist() == [1, 1]
        assert K.dtype(K.zeros((1,), dtype="int32")) == "int32"

    def test_constants(self):
        assert K.constant([1, 2]).dtype is torch.float32
        assert K.constant(2, shape=(2, 2)).tolist() == [[2, 2], [2, 2]]
        assert K.constant([1, 2, 3, 4], dtype="int32", shape=(2, 2)).tolist() == [[1, 2], [3, 4]]
        assert K.eye(2).tolist() == [[1, 0], [0, 1]] and K.eye((2, 3)).shape == (2, 3)

    def test_drawn_variables(self):
        for make in (K.random_uniform_variable, K.random_normal_variable):
            first = make((50,), 1.0, 2.0, seed=3)
            assert isinstance(first, Variable)
            assert np.array_equal(K.eval(first), K.eval(make((50,), 1.0, 2.0, seed=3)))
        uniform = K.eval(K.random_uniform_variable((500,), -2, 1))
        assert (
            uniform.min() >= -2
            and uniform.max() < 1
            and uniform.mean() == pytest.approx(-0.5, abs=0.15)
        )
        normal = K.eval(K.random_normal_variable((500,), 5, 0.1))
        assert normal.mean() == pytest.approx(5, abs=0.03)

    def test_drawn_from_numpy_seed_in_keras_2(self):
        eras.set_version(2)
        np.random.seed(4)
        first = K.eval(K.random_normal_variable((3,), 0, 1))
        np.random.seed(4)
        assert np.array_equal(K.eval(K.random_normal_variable((3,), 0, 1)), first)

    def test_variables_on_both_sides_of_operators(self):
        v = K.variable([1.0, 2.0])
        assert (v * 2 + v).tolist() == [3, 6] and K.sum(v * v).item() == 5


class TestValues:
    def test_get_and_set(self):
        v = K.variable([1.0, 2.0])
        K.set_value(v, np.array([3, 4]))
        assert K.get_value(v).tolist() == [3, 4]
        assert K.get_value(torch.tensor(2.5)) == 2.5 and K.get_value(7) == 7
        tensor = torch.zeros(2)
        K.set_value(tensor, [1, 2])
        assert tensor.tolist() == [1, 2]

    def test_values_are_copies(self):
        v = K.variable([1.0])
        K.get_value(v)[0] = 9
        assert K.get_value(v).tolist() == [1]

    def test_scalars_are_numbers(self):
        assert isinstance(K.get_value(K.variable(1.5)), np.float32)

    def test_learning_rate(self):
        optimizer = optimizers.SGD(0.1)
        K.set_value(optimizer.lr, K.get_value(optimizer.lr) * 0.5)
        assert float(optimizer.learning_rate) == pytest.approx(0.05)

    def test_batches(self):
        a, b = K.variable(1.0), K.variable([2.0])
        K.batch_set_value([(a, 3.0), (b, [4.0])])
        assert K.batch_get_value([a, b]) == [3.0, [4.0]]

    def test_weights_of_a_layer(self):
        layer = layers.Dense(2)
        layer.build((None, 3))
        K.set_value(layer.kernel, np.arange(6).reshape(3, 2))
        assert layer.get_weights()[0].tolist() == [[0, 1], [2, 3], [4, 5]]

    def test_updates(self):
        v = K.variable([1.0, 2.0])
        assert K.update(v, [2.0, 3.0]) is v
        assert K.update_add(v, 1.0) is v and K.eval(v).tolist() == [3, 4]
        K.update_sub(v, np.array([1.0, 2.0]))
        assert K.eval(v).tolist() == [2, 2]
        K.moving_average_update(v, [12.0, 2.0], 0.9)
        assert K.eval(v) == pytest.approx([3, 2])

    def test_errors(self):
        with pytest.raises(TypeError, match="writes to a variable"):
            K.set_value(0.1, 0.2)
        with pytest.raises(ValueError, match="shape"):
            K.set_value(K.variable([1.0, 2.0]), [1.0])
        with pytest.raises(TypeError, match="symbolic"):
            K.get_value(K.placeholder((2,)))


class TestSettings:
    def test_are_those_of_config(self):
        K.set_floatx("float64")
        K.set_epsilon(1e-3)
        K.set_image_data_format("channels_first")
        assert config.floatx() == K.floatx() == "float64"
        assert config.epsilon() == K.epsilon() == 1e-3
        assert config.image_data_format() == K.image_data_format() == "channels_first"
        assert K.variable(1.0).dtype == "float64"
        assert K.cast_to_floatx([1, 2]).dtype == np.float64
        assert K.cast_to_floatx(torch.ones(2)).dtype is torch.float64

    def test_keras_1_layouts(self):
        assert K.image_dim_ordering() == "tf"
        K.set_image_dim_ordering("th")
        assert K.image_dim_ordering() == "th" and K.image_data_format() == "channels_first"
        with pytest.raises(ValueError, match="'tf' or 'th'"):
            K.set_image_dim_ordering("channels_last")

    def test_backend(self):
        assert K.backend() == "torch"
        with K.name_scope("block"):
            assert K.eval(K.variable(1.0)) == 1

    @pytest.mark.parametrize("era", [1, 2, 3])
    def test_uids_count_from_one_with_the_layers(self, era):
        eras.set_version(era)
        assert [K.get_uid("thing"), K.get_uid("thing"), K.get_uid("other")] == [1, 2, 1]
        layers.Dense(1)
        assert K.get_uid("dense") == 2
        K.reset_uids()
        assert K.get_uid("thing") == 1

    def test_clear_session_numbers_layers_anew(self):
        first = layers.Dense(1).name
        K.clear_session()
        assert layers.Dense(1).name == first


class TestLearningPhase:
    def test_is_inference_unless_said(self):
        assert K.learning_phase() == 0
        K.set_learning_phase(1)
        assert K.learning_phase() == 1 and phase.forced_learning_phase() == 1
        K.clear_session()
        assert K.learning_phase() == 0 and phase.forced_learning_phase() is None
        with pytest.raises(ValueError, match="0 or 1"):
            K.set_learning_phase(2)

    def test_choices_follow_it(self):
        x, alt = torch.tensor(1.0), torch.tensor(2.0)
        assert K.in_train_phase(x, alt) is alt and K.in_test_phase(x, alt) is x
        with phase.within(True):
            assert K.in_train_phase(x, alt) is x and K.in_test_phase(x, alt) is alt
            assert K.switch(K.learning_phase(), x, alt) is x
            K.set_learning_phase(0)
            assert K.in_train_phase(x, alt) is alt
        assert K.in_train_phase(x, alt, training=True) is x
        assert K.in_train_phase(x, alt, training=0) is alt

    def test_only_the_chosen_function_is_called(self):
        assert K.in_train_phase(lambda: 1 / 0, lambda: 5) == 5

    def test_in_a_call_it_is_the_layers_mode(self):
        class Noisy(torch.nn.Module):
            @phase.follows_phase
            def call(self, x):
                return K.in_train_phase(x + 1, x)

        layer = Noisy().train()
        assert layer.call(1) == 2 and K.learning_phase() == 0
        assert layer.eval().call(1) == 1


class TestModulePaths:
    @pytest.mark.parametrize(
        "name",
        [
            "keras.backend",
            "keras.backend.tensorflow_backend",
            "keras.backend.common",
            "tf_keras.backend",
            "tensorflow.keras.backend",
            "tensorflow.python.keras.backend",
        ],
    )
    def test_stand_for_this_module(self, name):
        found = modules.alias(modules.path_of(name))
        assert found.mean is K.mean and found.floatx is config.floatx
        assert found.lesser is K.less and found.get_variable_shape is K.int_shape
        assert set(K.__all__) <= set(dir(found))
        with pytest.raises(AttributeError, match="torchkeras has no keras.*backend.*no_such"):
            found.no_such_function  # noqa: B018
