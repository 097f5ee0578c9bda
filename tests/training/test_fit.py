"""compile, fit, evaluate, predict: what they return and what reaches the callbacks."""

import functools
import inspect

import numpy as np
import pandas
import pytest
import torch

from torchkeras import config, eras, layers, losses, models, optimizers
from torchkeras.callbacks import Callback, CallbackList, History
from torchkeras.layers import Activation, BatchNormalization, Dense, Dropout, Layer
from torchkeras.models import Sequential
from torchkeras.random import set_random_seed

X = np.random.RandomState(1).rand(50, 4)
Y = (X.sum(1) > 2).astype(int)


def network(optimizer="adam", loss="binary_crossentropy", metrics=("accuracy",), **kwargs):
    model = Sequential([Dense(8, activation="relu", input_dim=4), Dense(1, activation="sigmoid")])
    model.compile(optimizer, loss, metrics=list(metrics), **kwargs)
    return model


def linear(weight=0.0, **kwargs):
    """y = weight * x, one parameter: results can be worked out by hand."""
    model = Sequential([Dense(1, use_bias=False, input_dim=1)])
    model.set_weights([np.array([[weight]])])
    model.compile(**{"optimizer": optimizers.SGD(0.1), "loss": "mse", **kwargs})
    return model


def test_life_cycle_learns():
    model = network(optimizers.Adam(0.02))
    history = model.fit(X, Y, epochs=60, batch_size=10, verbose=0)
    assert isinstance(history, History) and history is model.history
    assert history.epoch == list(range(60)) and history.model is model
    assert history.history["loss"][-1] < history.history["loss"][0]
    loss, accuracy = model.evaluate(X, Y, verbose=0)
    assert accuracy > 0.85
    predictions = model.predict(X, verbose=0)
    assert type(predictions) is np.ndarray and predictions.shape == (50, 1)
    assert ((predictions[:, 0] > 0.5) == Y).mean() == pytest.approx(accuracy)
    assert model.metrics_names == ["loss", "accuracy"]
    assert model.evaluate(X, Y, verbose=0, return_dict=True) == {"accuracy": accuracy, "loss": loss}


def test_one_step_by_hand():
    model = linear(0.0)
    # loss (0 - 2)^2 = 4, gradient -2 * 2 * 1 = -4
    assert model.fit([[1.0]], [[2.0]], verbose=0).history == {"loss": [4.0]}
    assert model.get_weights()[0].item() == pytest.approx(0.4)
    assert model.evaluate([[1.0]], [[2.0]], verbose=0) == pytest.approx(1.6**2)


def test_reported_loss_is_the_mean_over_samples_of_batches_of_unequal_length():
    model = linear(0.0, optimizer=optimizers.SGD(0.0))
    x, y = np.ones((5, 1)), np.array([1.0, 1, 1, 1, 3])
    history = model.fit(x, y, batch_size=4, shuffle=False, verbose=0).history
    assert history["loss"][0] == pytest.approx((4 * 1 + 1 * 9) / 5)
    assert model.evaluate(x, y, batch_size=4, verbose=0) == pytest.approx(13 / 5)


def test_sample_weights_enter_the_loss_but_not_the_mean_over_batches():
    model = linear(0.0, optimizer=optimizers.SGD(0.0))
    x, y, weight = np.ones((4, 1)), np.ones(4), np.array([2.0, 2, 0, 0])
    loss = model.evaluate(x, y, batch_size=2, sample_weight=weight, verbose=0)
    assert loss == pytest.approx((2 * 2 + 2 * 0) / 4)


def test_class_weight_is_a_sample_weight_by_class():
    model = linear(0.0, optimizer=optimizers.SGD(0.0))
    x, y = np.ones((4, 1)), np.array([0, 1, 1, 2])
    loss = model.fit(x, y, class_weight={0: 5, 1: 3}, verbose=0).history["loss"][0]
    assert loss == pytest.approx((0 + 3 * 1 + 3 * 1 + 1 * 4) / 4)
    by_sample = model.fit(x, y, sample_weight=[5, 3, 3, 1], verbose=0).history["loss"][0]
    assert by_sample == pytest.approx(loss)


@pytest.mark.parametrize(
    "weights", [{"b": {0: 5, 1: 3}}, [None, {0: 5, 1: 3}]], ids=["by name", "list"]
)
def test_class_weights_of_several_outputs(weights):
    x = layers.Input((1,))
    outs = [layers.Dense(1, kernel_initializer="zeros", name=name)(x) for name in "ab"]
    model = models.Model(x, outs)
    model.compile(optimizers.SGD(0.0), "mse")
    ones, y = np.ones((4, 1)), np.array([0, 1, 1, 2])
    logs = model.fit(ones, [y, y], class_weight=weights, verbose=0).history
    assert logs["a_loss"][0] == pytest.approx(6 / 4)
    assert logs["b_loss"][0] == pytest.approx((0 + 3 + 3 + 4) / 4)


@pytest.mark.parametrize("weights", [{0: 5}, [{0: 5}]], ids=["one dictionary", "short list"])
def test_class_weights_that_do_not_say_which_output(weights):
    x = layers.Input((1,))
    model = models.Model(x, [layers.Dense(1)(x), layers.Dense(1)(x)])
    model.compile("sgd", "mse")
    y = np.zeros(4)
    with pytest.raises(ValueError, match="class_weight: the model has 2 outputs"):
        model.fit(np.ones((4, 1)), [y, y], class_weight=weights, verbose=0)


def test_weighted_metrics_take_weights_and_plain_ones_do_not():
    model = linear(0.0, metrics=["mae"], weighted_metrics=["mae"])
    x, y = np.ones((2, 1)), np.array([1.0, 3.0])
    logs = model.evaluate(x, y, sample_weight=np.array([1.0, 0]), verbose=0, return_dict=True)
    assert logs["mae"] == pytest.approx(2) and logs["weighted_mae"] == pytest.approx(1)


def test_loss_weights_scale_the_loss():
    assert linear(0.0, loss_weights=0.5).evaluate([[1.0]], [[2.0]], verbose=0) == 2
    assert linear(0.0, loss_weights=[0.25]).evaluate([[1.0]], [[2.0]], verbose=0) == 1


def test_penalties_are_part_of_loss_and_gradient():
    model = Sequential([Dense(1, use_bias=False, input_dim=1, kernel_regularizer="l2")])
    model.set_weights([np.array([[2.0]])])
    model.compile(optimizers.SGD(0.1), "mse")
    assert model.evaluate([[1.0]], [[2.0]], verbose=0) == pytest.approx(0.04)
    model.fit([[1.0]], [[2.0]], verbose=0)
    assert model.get_weights()[0].item() == pytest.approx(2 - 0.1 * 2 * 0.01 * 2)


def test_activity_penalty_is_part_of_the_loss():
    model = Sequential(
        [Dense(1, use_bias=False, input_dim=1), Activation("linear", activity_regularizer="l2")]
    )
    model.set_weights([np.array([[2.0]])])
    model.compile("sgd", "mse")
    assert model.evaluate(np.ones((4, 1)), np.full(4, 2.0), verbose=0) == pytest.approx(0.01 * 4)


def test_constraints_hold_after_each_step():
    model = Sequential([Dense(3, input_dim=4, kernel_constraint="unit_norm")])
    model.compile("sgd", "mse")
    model.fit(X, np.random.rand(50, 3), verbose=0)
    np.testing.assert_allclose(np.linalg.norm(model.get_weights()[0], axis=0), 1, rtol=1e-5)


def test_frozen_layers_do_not_move():
    model = network()
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    after = model.get_weights()
    assert np.array_equal(before[0], after[0]) and not np.array_equal(before[2], after[2])


def test_trainable_changed_after_compile_has_no_effect_but_a_warning():
    model = network()
    model.layers[0].trainable = False
    before = model.get_weights()
    with pytest.warns(UserWarning, match="'dense.*after compile"):
        model.fit(X, Y, verbose=0)
    assert not np.array_equal(before[0], model.get_weights()[0])
    assert not model.layers[0].linear.weight.requires_grad
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    assert np.array_equal(before[0], model.get_weights()[0])


def test_no_trainable_weights_warns_and_reports():
    model = network()
    model.trainable = False
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="no trainable weights"):
        history = model.fit(X, Y, verbose=0)
    assert np.isfinite(history.history["loss"][0])


def test_validation_split_takes_the_end_before_shuffling():
    model = linear(0.0, optimizer=optimizers.SGD(0.0))
    x, y = np.ones((10, 1)), np.arange(10.0)
    history = model.fit(x, y, validation_split=0.2, verbose=0).history
    assert history["loss"][0] == pytest.approx((np.arange(8) ** 2).mean())
    assert history["val_loss"][0] == pytest.approx((64 + 81) / 2)
    assert list(history) == ["loss", "val_loss"]


def test_validation_data_frequency_steps_and_batch_size():
    model = linear(0.0, optimizer=optimizers.SGD(0.0))
    x, y = np.ones((4, 1)), np.array([1.0, 1, 3, 3])
    common = {"validation_data": (x, y), "verbose": 0, "epochs": 4}
    assert model.fit(x, y, validation_freq=2, **common).history["val_loss"] == [5, 5]
    assert len(model.fit(x, y, validation_freq=[1, 2, 4], **common).history["val_loss"]) == 3
    short = model.fit(x, y, validation_steps=1, validation_batch_size=2, **common)
    assert short.history["val_loss"] == [1, 1, 1, 1]
    weighted = model.fit(x, y, validation_data=(x, y, np.array([0, 0, 0, 1.0])), verbose=0)
    assert weighted.history["val_loss"] == [9 / 4]


def test_initial_epoch_steps_per_epoch_and_the_end_of_the_data():
    model = linear(0.0)
    x, y = np.ones((6, 1)), np.ones(6)
    history = model.fit(x, y, epochs=5, initial_epoch=3, verbose=0)
    assert history.epoch == [3, 4]
    seen = Recorder()
    with pytest.warns(UserWarning, match="ended before 2 steps"):
        model.fit(x, y, batch_size=2, steps_per_epoch=2, epochs=3, verbose=0, callbacks=[seen])
    assert seen.batches == [2, 1, 2]


@pytest.mark.parametrize(
    ("steps", "taken"),
    [(10, [10] * 4), (5, [5] * 4), (9, [9, 1, 9, 1]), (3, [3, 3, 3, 1]), (11, [10] * 4)],
)
@pytest.mark.filterwarnings("ignore:The data ended")
def test_steps_per_epoch_against_the_length_of_the_data(steps, taken):
    seen = Recorder()
    model = linear(0.0)
    x, y = np.ones((10, 1)), np.ones(10)
    model.fit(x, y, 1, steps_per_epoch=steps, epochs=4, verbose=0, callbacks=[seen])
    assert seen.batches == taken


def test_flags_of_compile_are_read_back():
    assert linear(run_eagerly=True).run_eagerly and not linear().run_eagerly
    assert linear(jit_compile=True).jit_compile and not linear().jit_compile


class Recorder(Callback):
    """Writes down every hook with its first argument."""

    def __init__(self):
        super().__init__()
        self.calls, self.logs, self.batches = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.append(0)
        self.calls.append(("epoch_begin", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("epoch_end", epoch))
        self.logs.append(logs)

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(("train_batch_begin", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.batches[-1] += 1
        self.calls.append(("train_batch_end", batch))
        self.logs.append(logs)

    def on_train_begin(self, logs=None):
        self.calls.append(("train_begin",))

    def on_train_end(self, logs=None):
        self.calls.append(("train_end",))

    def on_test_begin(self, logs=None):
        self.calls.append(("test_begin",))

    def on_test_batch_end(self, batch, logs=None):
        self.calls.append(("test_batch_end", batch))

    def on_test_end(self, logs=None):
        self.calls.append(("test_end",))

    def on_predict_batch_end(self, batch, logs=None):
        self.calls.append(("predict_batch_end", batch, logs["outputs"].shape))


def test_every_hook_in_keras_order_with_running_means():
    seen = Recorder()
    model = linear(0.0, optimizer=optimizers.SGD(0.0))
    x, y = np.ones((4, 1)), np.array([1.0, 1, 3, 3])
    model.fit(
        x, y, batch_size=2, shuffle=False, callbacks=[seen], validation_data=(x, y), verbose=0
    )
    assert seen.calls == [
        ("train_begin",),
        ("epoch_begin", 0),
        ("train_batch_begin", 0),
        ("train_batch_end", 0),
        ("train_batch_begin", 1),
        ("train_batch_end", 1),
        ("test_begin",),
        ("test_batch_end", 0),
        ("test_batch_end", 1),
        ("test_end",),
        ("epoch_end", 0),
        ("train_end",),
    ]
    assert seen.logs == [{"loss": 1.0}, {"loss": 5.0}, {"loss": 5.0, "val_loss": 5.0}]
    assert seen.params == {"verbose": 0, "epochs": 1, "steps": 2}
    model.predict(x, batch_size=3, callbacks=CallbackList([seen]), verbose=0)
    assert seen.calls[-2:] == [
        ("predict_batch_end", 0, (3, 1)),
        ("predict_batch_end", 1, (1, 1)),
    ]


def test_steps_per_execution_groups_the_batch_hooks():
    seen = Recorder()
    model = linear(0.0, steps_per_execution=2)
    model.fit(np.ones((5, 1)), np.ones(5), batch_size=1, callbacks=[seen], verbose=0)
    assert [call for call in seen.calls if "batch" in call[0]] == [
        ("train_batch_begin", 0),
        ("train_batch_end", 1),
        ("train_batch_begin", 2),
        ("train_batch_end", 3),
        ("train_batch_begin", 4),
        ("train_batch_end", 4),
    ]


def test_a_callback_stops_training_after_the_batch():
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    model = linear(0.0)
    history = model.fit(np.ones((6, 1)), np.ones(6), 1, epochs=5, callbacks=[Stop()], verbose=0)
    assert history.epoch == [0]


def test_a_callback_changes_the_learning_rate_and_the_weights():
    class Change(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.1 if epoch else 0.0

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                self.first = self.model.get_weights()[0].item()
                self.model.layers[0].kernel.assign([[1.0]])

    change = Change()
    model = linear(0.0)
    model.fit([[1.0]], [[2.0]], epochs=2, callbacks=[change], verbose=0)
    assert change.first == 0
    assert model.get_weights()[0].item() == pytest.approx(1 + 0.1 * 2)


def test_interrupted_fit_leaves_a_model_that_predicts_and_the_finished_epochs():
    class Interrupt(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.history.epoch == [0, 1]:
                raise KeyboardInterrupt

    model = Sequential([Dense(4, input_dim=4), Dropout(0.5), Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=5, callbacks=[Interrupt()], verbose=0)
    assert model.history.epoch == [0, 1] and len(model.history.history["loss"]) == 2
    assert not model.training
    assert np.array_equal(model.predict(X, verbose=0), model.predict(X, verbose=0))


def test_the_mode_of_before_is_put_back():
    model = network()
    model.train()
    model.fit(X, Y, verbose=0)
    assert model.training
    model.eval()
    model.fit(X, Y, verbose=0)
    assert not model.training


@pytest.mark.parametrize(
    "x",
    [
        X.astype("float32"),
        X.astype("float16"),
        X.tolist(),
        torch.tensor(X),
        pandas.DataFrame(X),
        [X],
        np.asfortranarray(X),
        X[::-1][::-1],
        X.astype(object),
        X.astype(">f8"),
    ],
    ids=[
        "f4",
        "f2",
        "list",
        "tensor",
        "frame",
        "one",
        "fortran",
        "strides",
        "object",
        "big-endian",
    ],
)
def test_inputs_of_every_kind_predict_the_same(x):
    model = network()
    tolerance = 2e-3 if getattr(x, "dtype", None) == np.float16 else 1e-6
    expected = model.predict(X, verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=tolerance)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "bool"]
)
def test_integer_inputs_and_targets(dtype):
    x, y = (X * 3).astype(dtype), Y.astype(dtype)
    model = network()
    expected = model.predict(x.astype("float32"), verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-6)
    before = model.evaluate(x.astype("float32"), y.astype("float32"), verbose=0)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(before)


def test_targets_1d_2d_series_and_list_are_the_same():
    model = network()
    expected = model.evaluate(X, Y.reshape(-1, 1), verbose=0)
    for y in (Y, Y.tolist(), pandas.Series(Y), torch.tensor(Y), Y[:, None].tolist()):
        assert model.evaluate(X, y, verbose=0) == pytest.approx(expected)


def test_single_features_may_come_without_their_axis():
    model = linear(0.0)
    history = model.fit(np.ones(6), np.full(6, 2.0), batch_size=6, verbose=0, epochs=30)
    assert history.history["loss"][0] == 4 and history.history["loss"][-1] < 1e-3
    assert model.predict(np.ones(3), verbose=0).shape == (3, 1)


def test_predict_any_number_of_samples_and_batches():
    model = network()
    whole = model.predict(X, batch_size=50, verbose=0)
    for size in (1, 7, 49, 1000):
        np.testing.assert_allclose(model.predict(X, size, verbose=0), whole, rtol=1e-5)
    assert model.predict(X[:1], verbose=0).shape == (1, 1)
    assert model.predict(X, batch_size=10, steps=2, verbose=0).shape == (20, 1)
    np.testing.assert_allclose(model.predict_on_batch(X), whole, rtol=1e-6)


def test_predict_without_compile():
    assert Sequential([Dense(2)]).predict(X, verbose=0).shape == (50, 2)


def test_train_on_batch_steps_and_reports_that_batch_only():
    model = linear(0.0)
    assert model.train_on_batch([[1.0]], [[2.0]]) == 4
    assert model.train_on_batch([[1.0]], [[2.0]]) == pytest.approx(1.6**2)
    assert model.test_on_batch([[1.0]], [[2.0]]) == pytest.approx((2 - 0.72) ** 2)
    two = network()
    assert set(two.train_on_batch(X, Y, return_dict=True)) == {"accuracy", "loss"}
    assert len(two.test_on_batch(X, Y)) == 2


def test_train_on_batch_makes_its_step_once():
    model = network()
    model.train_on_batch(X, Y)
    step = model._compiled.step
    model.train_on_batch(X, Y)
    assert model._compiled.step is step
    model.double()
    model.float()
    model.layers[0].linear.weight = torch.nn.Parameter(torch.zeros(8, 4))
    model.train_on_batch(X, Y)
    assert model._compiled.step is not step
    assert model.layers[0].linear.weight.abs().sum() > 0


def test_layers_added_after_compile_are_trained_too():
    model = Sequential([Dense(4, input_dim=4)])
    model.compile("sgd", "mse")
    model.fit(X, np.ones((50, 4)), verbose=0)
    model.add(Dense(1))
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    after = model.get_weights()
    assert not np.array_equal(before[0], after[0]) and not np.array_equal(before[2], after[2])


def test_same_seed_same_curve():
    def curve():
        set_random_seed(3)
        model = Sequential([Dense(8, input_dim=4), Dropout(0.3), Dense(1)])
        model.compile("adam", "mse")
        return model.fit(X, Y, epochs=3, batch_size=8, verbose=0).history["loss"]

    assert curve() == curve()


def test_numpy_seed_alone_repeats_in_the_eras_that_drew_from_it():
    def curve(era):
        with eras.using(era):
            np.random.seed(7)
            model = Sequential([Dense(8, input_dim=4), Dropout(0.3), Dense(1)])
            model.compile("adam", "mse")
            return model.fit(X, Y, epochs=2, batch_size=8, verbose=0).history["loss"]

    assert curve(1) == curve(1) and curve(2) == curve(2)
    assert curve(3) != curve(3)


def test_shuffle_takes_every_sample_once_in_another_order():
    class Keep(Layer):
        def call(self, inputs):
            self.__dict__.setdefault("seen", []).append(inputs.flatten().tolist())
            return inputs

    for shuffle in (True, False, "batch"):
        keep = Keep()
        model = Sequential([keep, Dense(1)])
        model.build((None, 1))
        keep.seen.clear()
        model.compile("sgd", "mse")
        x = np.arange(10.0)[:, None]
        model.fit(x, x, batch_size=4, shuffle=shuffle, epochs=2, verbose=0)
        epochs = [sum(keep.seen[:3], []), sum(keep.seen[3:], [])]
        assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
        if shuffle is True:
            assert epochs[0] != epochs[1]
        if shuffle == "batch":
            assert {tuple(batch) for batch in keep.seen} == {
                (0, 1, 2, 3),
                (4, 5, 6, 7),
                (8, 9),
            }
        if shuffle is False:
            assert epochs[0] == epochs[1] == list(range(10))


@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd",
        optimizers.Adam,
        optimizers.Adam(0.01),
        {"class_name": "Adam", "config": {"learning_rate": 0.01}},
        torch.optim.SGD,
        functools.partial(torch.optim.AdamW, lr=0.01),
    ],
)
def test_optimizers_by_name_class_instance_config_and_torch(optimizer):
    model = network(optimizer)
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    assert not np.array_equal(before[0], model.get_weights()[0])


def test_a_torch_optimizer_instance_moves_the_model():
    model = network()
    model.compile(torch.optim.SGD(model.parameters(), lr=0.1), "mse")
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    assert not np.array_equal(before[0], model.get_weights()[0])


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        "mean_squared_error",
        losses.MeanSquaredError,
        losses.MeanSquaredError(),
        {"class_name": "MeanSquaredError", "config": {}},
        lambda y_true, y_pred: (y_true - y_pred) ** 2,
        lambda y_true, y_pred: ((y_true - y_pred) ** 2).mean(),
        torch.nn.MSELoss(),
    ],
)
def test_losses_by_name_class_instance_config_callable_and_module(loss):
    model = network(loss=loss)
    prediction = model.predict(X, verbose=0)[:, 0]
    value = model.evaluate(X, Y.reshape(-1, 1), verbose=0)[0]
    assert value == pytest.approx(((prediction - Y) ** 2).mean(), rel=1e-4)


def test_a_plain_function_as_metric_is_averaged_over_batches_by_length():
    def largest(y_true, y_pred):
        return (y_true - y_pred).abs().max()

    model = linear(0.0, metrics=[largest])
    logs = model.evaluate(
        np.ones((3, 1)), [1.0, 2.0, 6.0], batch_size=2, verbose=0, return_dict=True
    )
    assert logs["largest"] == pytest.approx((2 + 6) / 2)


def test_metrics_given_as_classes_are_made_once():
    from torchkeras.metrics import MeanAbsoluteError

    model = linear(0.0, metrics=[MeanAbsoluteError, "mse"])
    logs = model.evaluate([[1.0]], [[2.0]], verbose=0, return_dict=True)
    assert set(logs) == {"loss", *(metric.name for metric in model.metrics)}


def test_signatures_hold_every_argument_for_editors():
    fit = inspect.signature(Sequential.fit).parameters
    assert list(fit)[1:6] == ["x", "y", "batch_size", "epochs", "verbose"] and len(fit) == 17
    assert fit["epochs"].annotation == "int" and fit["epochs"].default == 1
    dense = inspect.signature(Dense).parameters
    assert list(dense)[:3] == ["units", "activation", "use_bias"]
    assert dense["units"].annotation == "int"


def test_history_answers_to_acc_and_accuracy():
    history = network(metrics=["accuracy"]).fit(X, Y, validation_split=0.2, verbose=0).history
    assert history["acc"] == history["accuracy"] and history["val_acc"] == history["val_accuracy"]
    history = network(metrics=["acc"]).fit(X, Y, verbose=0).history
    assert "acc" in list(history) and history["accuracy"] == history["acc"]


def test_old_eras_write_acc_and_full_names_into_the_history():
    with eras.using(2):
        history = network(metrics=["accuracy", "mse"]).fit(X, Y, verbose=0).history
        assert set(history) == {"loss", "acc", "mean_squared_error"}


def test_jit_compile_gives_the_same_curve():
    set_random_seed(1)
    eager = linear(0.5)
    compiled = linear(0.5, jit_compile=True)
    x, y = np.ones((8, 1)), np.arange(8.0)
    compiled._compiled.callable = torch.compile(compiled, backend="aot_eager")
    curves = [
        m.fit(x, y, epochs=3, shuffle=False, verbose=0).history["loss"] for m in (eager, compiled)
    ]
    assert curves[0] == pytest.approx(curves[1], rel=1e-6)


def test_batch_normalization_learns_its_statistics_in_fit_only():
    model = Sequential([BatchNormalization(input_shape=(4,)), Dense(1)])
    model.compile("sgd", "mse")
    model.evaluate(X, Y, verbose=0)
    assert model.layers[0].moving_mean.numpy().sum() == 0
    model.fit(X, Y, verbose=0)
    assert model.layers[0].moving_mean.numpy().sum() != 0


def test_nan_loss_is_reported_not_raised():
    model = network(loss="mse", metrics=[])
    history = model.fit(np.full((4, 4), np.nan), np.ones(4), verbose=0)
    assert np.isnan(history.history["loss"][0])


def test_floatx_of_the_data():
    config.set_floatx("float64")
    model = Sequential([Dense(1, input_dim=4)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert model.predict(X, verbose=0).dtype == np.float64


def test_verbose_prints_bar_lines_or_nothing(capsys):
    model = network()
    for verbose in (1, 2, "auto", 0):
        model.fit(X, Y, epochs=2, verbose=verbose)
        text = capsys.readouterr().out
        if verbose == 0:
            assert text == ""
            continue
        assert "Epoch 1/2\n" in text and "Epoch 2/2\n" in text
        assert "accuracy: " in text and "loss: " in text
        assert "\r" not in text and "\x1b" not in text
