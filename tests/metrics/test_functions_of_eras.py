"""What metric functions gave to their callers in each Keras, and Keras 1's metrics of batches."""

import pickle

import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import eras, layers, losses, metrics

FUNCTIONS = [
    "binary_accuracy",
    "categorical_accuracy",
    "mean_squared_error",
    "mean_absolute_percentage_error",
    "squared_hinge",
    "binary_crossentropy",
    "categorical_crossentropy",
    "poisson",
    "top_k_categorical_accuracy",
]
Y_TRUE = torch.tensor([0.0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 1, 0, 0])
Y_PRED = torch.tensor([1.0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_number_in_keras_1(name):
    function, y_true, y_pred = getattr(metrics, name), torch.eye(4), torch.rand(4, 4)
    with eras.using("2"):
        expected = function(y_true, y_pred).mean()
    with eras.using("1"):
        torch.testing.assert_close(function(y_true, y_pred), expected)
        wrapped = metrics.as_metric(function)
        wrapped.update_state(y_true, y_pred, torch.ones(4))
        result = wrapped.result()
    assert wrapped.fn is function.per_sample and wrapped.deferrable == (name != "squared_hinge")
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize(
    "name, shapes",
    [
        ("binary_accuracy", {"2": (5,), "2.3": (5,), "tf2": (5,), "3": (5, 3)}),
        ("top_k_categorical_accuracy", {"2": (), "2.3": (5,), "3": (5,)}),
        ("categorical_accuracy", {"2": (5,), "3": (5,)}),
        ("mean_squared_error", {"2": (5,), "3": (5,)}),
    ],
)
def test_shapes(name, shapes):
    for era, shape in shapes.items():
        with eras.using(era):
            assert getattr(metrics, name)(torch.rand(5, 3), torch.rand(5, 3)).shape == shape, era


def test_metrics_of_batches():
    hits, taken, ones = 2, 5, 7
    precision, recall = hits / taken, hits / ones
    assert metrics.precision(Y_TRUE, Y_PRED).item() == pytest.approx(precision, abs=1e-6)
    assert metrics.recall(Y_TRUE, Y_PRED).item() == pytest.approx(recall, abs=1e-6)
    f2 = 5 * precision * recall / (4 * precision + recall)
    assert metrics.fbeta_score(Y_TRUE, Y_PRED, beta=2).item() == pytest.approx(f2, abs=1e-6)
    f1 = 2 * precision * recall / (precision + recall)
    assert metrics.fmeasure(Y_TRUE, Y_PRED).item() == pytest.approx(f1, abs=1e-6)
    expected = np.corrcoef(Y_TRUE, Y_PRED)[0, 1]
    found = metrics.matthews_correlation(Y_TRUE, Y_PRED)
    assert found.item() == pytest.approx(expected, abs=1e-6)
    assert metrics.fmeasure(Y_TRUE * 0, Y_PRED) == 0
    with pytest.raises(ValueError, match="beta"):
        metrics.fbeta_score(Y_TRUE, Y_PRED, beta=-1)


def test_names_of_metrics_of_batches():
    with eras.using("1"):
        for name in ("precision", "recall", "fmeasure", "f1score", "matthews_correlation"):
            metric = metrics.as_metric(name)
            assert type(metric) is metrics.MeanMetricWrapper and metric.name == name
            assert not metric.deferrable and metric.fn(Y_TRUE, Y_PRED).dim() == 0
    assert type(metrics.as_metric("precision")) is metrics.Precision
    with pytest.raises(ValueError, match="Unknown metric 'fmeasure'"):
        metrics.as_metric("fmeasure")


def test_metrics_of_batches_are_means_over_batches():
    x, y = torch.rand(30, 4), torch.randint(0, 2, (30, 1)).float()
    with eras.using("1"):
        model = torchkeras.Sequential([layers.Input((4,)), layers.Dense(1, activation="sigmoid")])
        model.compile("sgd", "binary_crossentropy", metrics=["fmeasure"])
        found = model.evaluate(x, y, batch_size=10, verbose=0)[1]
    with torch.no_grad():
        output = model(x)
    parts = [metrics.fmeasure(y[i : i + 10], output[i : i + 10]).item() for i in (0, 10, 20)]
    assert found == pytest.approx(np.mean(parts), abs=1e-6)


@pytest.mark.parametrize("era, sign", [("1", -1), ("2", -1), ("2.3", 1), ("3", 1)])
def test_sign_of_cosine_proximity(era, sign):
    x = torch.rand(3, 2)
    with eras.using(era):
        value = metrics.cosine_proximity(x, x).mean()
    assert value.item() == pytest.approx(sign / (2 if era == "1" else 1), abs=1e-6)


def test_functions_are_nodes_of_a_graph():
    inputs = torchkeras.Input((3,))
    model = torchkeras.Model(inputs, metrics.binary_accuracy(inputs, inputs * 2))
    x = torch.rand(4, 3)
    expected = metrics.binary_accuracy(x, x * 2)
    torch.testing.assert_close(model(x), expected)
    again = torchkeras.Model.from_config(model.get_config())
    torch.testing.assert_close(again(x), expected)


@pytest.mark.parametrize("era, adds", [("1", 0), ("2", 0), ("2.3", 1e-7), ("tf2", 1e-7), ("3", 0)])
def test_epsilon_of_the_binary_crossentropy(era, adds):
    y_true, y_pred = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.3]])
    low = torch.tensor(1e-7)
    expected = -((low + adds).log() + (1 - y_pred[0, 1] + adds).log()) / 2
    with eras.using(era):
        for value in (
            losses.binary_crossentropy(y_true, y_pred)[0],
            losses.get("bce")(y_true, y_pred)[0],
        ):
            torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
        torch.testing.assert_close(losses.BinaryCrossentropy()(y_true, y_pred), expected)
        # What is trained on keeps torch's kernel, which the captured step knows.
        trained = losses.BinaryCrossentropy()(y_true, y_pred.requires_grad_())
    assert trained.item() == pytest.approx(-(low.log() + np.log(0.7)).item() / 2, rel=1e-6)


@pytest.mark.parametrize("name", ["binary_accuracy", "mean_squared_error", "cosine_similarity"])
def test_functions_are_found_again_by_pickle(name):
    function = getattr(metrics, name)
    assert pickle.loads(pickle.dumps(function)) is function
