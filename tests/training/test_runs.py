"""What a run checks before it begins, and what it leaves behind."""

import numpy as np
import pytest
import torch

from torchkeras import losses, metrics
from torchkeras.callbacks import Callback
from torchkeras.layers import BatchNormalization, Dense, Dropout
from torchkeras.models import Sequential

X = np.random.RandomState(1).rand(50, 4)
Y = X.sum(1)
LABELS = np.arange(50) % 3


def network(loss="mse", units=1, activation=None, **kwargs):
    model = Sequential([Dense(3, input_dim=4), Dense(units, activation=activation)])
    model.compile("sgd", loss, **kwargs)
    return model


def test_class_weights_do_not_reach_the_validation_part():
    model = Sequential([Dense(1, use_bias=False, input_dim=1, kernel_initializer="zeros")])
    model.compile("sgd", "mse")
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    y = np.array([0, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    with pytest.warns(UserWarning, match="no trainable weights"):
        history = model.fit(
            np.ones((10, 1)), y, class_weight={1: 3.0}, validation_split=0.2, verbose=0
        ).history
    assert history["loss"] == [pytest.approx(7 * 3 / 8)] and history["val_loss"] == [1.0]


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_rank_that_differs_from_the_input_shape(method):
    model = Sequential([Dense(3, input_shape=(50, 4), name="first"), Dense(1)])
    model.compile("sgd", "mse")
    text = r"model 'sequential.*\(None, 50, 4\).*received x of shape \(50, 4\).*without the number"
    with pytest.raises(ValueError, match=f"Invalid input shape: {text}"):
        getattr(model, method)(X, Y)
    with pytest.raises(ValueError, match=text):
        model.predict(X, verbose=0)


def test_one_sample_without_its_axis_and_ranks_that_keras_takes():
    model = network()
    with pytest.raises(ValueError, match=r"shape \(4,\).*x\[None\]"):
        model.predict(X[0], verbose=0)
    whole = model.predict(X, verbose=0)
    np.testing.assert_array_equal(model.predict(X[:, :, None], verbose=0), whole)
    with pytest.raises(ValueError, match="Layer 'dense.*4 at axis -1"):
        model.predict(X[:, :3], verbose=0)


@pytest.mark.parametrize("labels", [LABELS, LABELS % 2])
def test_a_metric_that_cannot_read_the_targets_is_refused_before_training(labels):
    units = labels.max() + 1
    model = network("sparse_categorical_crossentropy", int(units), "softmax", metrics=["mae"])
    before = model.get_weights()
    with pytest.raises(ValueError, match=rf"metric 'mae'.*\(50,\).*\(50, {units}\)"):
        model.fit(X, labels, verbose=0)
    assert np.array_equal(before[0], model.get_weights()[0])


def test_trying_the_metrics_leaves_no_state():
    metric = metrics.MeanAbsoluteError()
    model = network(metrics=[metric, "accuracy"])
    model._compiled.objective.prepare(torch.zeros(50), (50, 1))
    assert [float(variable) for variable in metric.variables] == [0, 0]


def test_loss_and_metrics_are_chosen_anew_after_targets_that_were_refused():
    model = network("crossentropy", 3, "softmax", metrics=["accuracy"])
    with pytest.raises(ValueError, match="received targets of shape"):
        model.fit(X, np.ones((50, 4)), verbose=0)
    loss, accuracy = model.evaluate(X, LABELS, verbose=0)
    assert accuracy == pytest.approx((model.predict(X, verbose=0).argmax(1) == LABELS).mean())


@pytest.mark.parametrize(
    "loss",
    [
        lambda y_true, y_pred: 1.0,
        lambda y_true, y_pred: torch.tensor(1.0),
        lambda y_true, y_pred: ((y_true - y_pred.detach()) ** 2).mean(),
        lambda y_true, y_pred: np.float32(2),
        lambda y_true, y_pred: y_pred.numpy().mean(),
        lambda y_true, y_pred: None,
    ],
    ids=["float", "constant", "detached", "numpy", "to-numpy", "none"],
)
def test_losses_without_a_gradient(loss):
    with pytest.raises(ValueError, match="loss 'lambda' does not depend on the model's outputs"):
        network(loss).fit(X, Y, verbose=0)


def test_a_metric_that_returns_nothing():
    with pytest.raises(ValueError, match="metric 'lambda' returned no number"):
        network(metrics=[lambda y_true, y_pred: None]).fit(X, Y, verbose=0)

    class Silent(metrics.Metric):
        def update_state(self, y_true, y_pred, sample_weight=None):
            pass

        def result(self):
            return None

    with pytest.raises(ValueError, match=r"metric 'silent': result\(\).*None"):
        network(metrics=[Silent(name="silent")]).fit(X, Y, verbose=0)


def test_fit_where_gradients_are_off():
    model = network()
    with torch.no_grad():
        losses_ = model.fit(X, Y, epochs=5, verbose=0).history["loss"]
        model.train_on_batch(X, Y)
        assert not torch.is_grad_enabled()
    assert losses_[-1] < losses_[0]
    with torch.inference_mode(), pytest.raises(ValueError, match="inference_mode"):
        model.fit(X, Y, verbose=0)


def test_fit_inside_fit_leaves_the_history_of_the_outer():
    class Nested(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.fit(X, Y, verbose=0)

    model = network()
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[Nested()])
    assert len(history.history["loss"]) == 3 and model.history is history


def test_each_module_gets_its_own_mode_back():
    model = Sequential([BatchNormalization(input_shape=(4,)), Dropout(0.2), Dense(1)])
    model.compile("sgd", "mse")
    model.layers[1].train()
    for run in (
        lambda: model.predict(X, verbose=0),
        lambda: model.evaluate(X, Y, verbose=0),
        lambda: model.fit(X, Y, verbose=0),
        lambda: model.train_on_batch(X, Y),
    ):
        run()
        assert [layer.training for layer in model.layers] == [False, True, False]
        assert not model.training


def test_targets_of_one_column_against_three_outputs_are_refused():
    # Keras broadcasts them, which is hardly ever meant.
    with pytest.raises(ValueError, match=r"\(samples, 3\).*\(50, 1\)"):
        network(losses.MeanSquaredError(), 3).fit(X, Y[:, None], verbose=0)
