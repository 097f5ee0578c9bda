"""From what compile is given to a Metric, under the name that its era wrote."""

import pytest
import torch
from torch.nn import functional

from torchkeras import eras, losses, metrics

ONE, FLAT, THREE = (None, 1), (None,), (None, 3)


@pytest.mark.parametrize(
    "names, cls",
    [
        ("mse MSE mean_squared_error MeanSquaredError", "MeanSquaredError"),
        ("rmse root_mean_squared_error", "RootMeanSquaredError"),
        ("mae MAE mean_absolute_error", "MeanAbsoluteError"),
        ("bce binary_crossentropy", "BinaryCrossentropy"),
        ("kld kl_divergence kullback_leibler_divergence", "KLDivergence"),
        ("logcosh log_cosh LogCoshError", "LogCoshError"),
        ("cosine cosine_proximity cosine_similarity", "CosineSimilarity"),
        ("binary_accuracy BinaryAccuracy", "BinaryAccuracy"),
        ("sparse_top_k_categorical_accuracy", "SparseTopKCategoricalAccuracy"),
        ("hinge", "Hinge"),
    ],
)
def test_names(names, cls):
    for name in names.split():
        metric = metrics.as_metric(name)
        assert type(metric).__name__ == cls and metric.name == name


@pytest.mark.parametrize("name", ["crossentropy", "ce"])
def test_crossentropy_by_shape(name):
    assert type(metrics.choose(name, ONE, ONE)) is metrics.BinaryCrossentropy
    assert type(metrics.choose(name, FLAT, THREE)) is metrics.SparseCategoricalCrossentropy
    assert metrics.choose(name, THREE, THREE).name == name


def test_flat_outputs_are_binary():
    assert type(metrics.choose("acc", FLAT, FLAT)) is metrics.BinaryAccuracy


def test_what_depends_on_shapes_is_told():
    assert metrics.is_by_shape("ACC") and not metrics.is_by_shape("mse")
    assert not metrics.is_by_shape(metrics.Accuracy())
    with pytest.raises(ValueError, match="chosen by the shapes"):
        metrics.as_metric("accuracy")


@pytest.mark.parametrize("era", ["1", "2"])
@pytest.mark.parametrize(
    "given, written",
    [
        ("accuracy", "acc"),
        ("acc", "acc"),
        ("crossentropy", "ce"),
        ("mse", "mean_squared_error"),
        ("MAE", "mean_absolute_error"),
        ("msle", "mean_squared_logarithmic_error"),
        ("kld", "kullback_leibler_divergence"),
        ("cosine", "cosine_proximity"),
        ("cosine_proximity", "cosine_proximity"),
        ("binary_accuracy", "binary_accuracy"),
        ("logcosh", "logcosh"),
    ],
)
def test_names_before_2_3(era, given, written):
    with eras.using(era):
        assert metrics.choose(given, ONE, ONE).name == written


@pytest.mark.parametrize("era", ["2.3.1", "tf2", "3"])
@pytest.mark.parametrize("given", ["accuracy", "acc", "mse", "cosine_proximity"])
def test_names_since_2_3(era, given):
    with eras.using(era):
        assert metrics.choose(given, ONE, ONE).name == given


@pytest.mark.parametrize("era, value", [("1", -0.5), ("2", -1.0), ("2.3", 1.0), ("3", 1.0)])
def test_sign_of_cosine_proximity(era, value):
    with eras.using(era):
        metric = metrics.as_metric("cosine_proximity")
        assert metric(torch.ones(4, 2), torch.ones(4, 2)).item() == pytest.approx(value)


def test_functions_keep_their_name_until_keras_3():
    def F1_score(y_true, y_pred):
        return y_pred.mean()

    for era, name in [("1", "F1_score"), ("2", "F1_score"), ("tf2", "F1_score"), ("3", "f1_score")]:
        with eras.using(era):
            assert metrics.as_metric(F1_score).name == name


def test_functions_classes_instances_and_dictionaries():
    wrapped = metrics.as_metric(losses.mean_squared_error)
    assert type(wrapped) is metrics.MeanMetricWrapper and wrapped.name == "mean_squared_error"
    assert type(metrics.as_metric(metrics.Mean)) is metrics.Mean
    mine = metrics.BinaryAccuracy(threshold=0.3, name="mine")
    assert metrics.as_metric(mine) is mine and mine.name == "mine"
    assert metrics.as_metric(metrics.serialize(mine)).threshold == 0.3
    function = metrics.as_metric(metrics.serialize(metrics.binary_accuracy))
    assert type(function) is metrics.BinaryAccuracy


def test_torch_losses_get_the_prediction_first():
    y_true, y_pred = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.3], [0.6]])
    expected = functional.binary_cross_entropy(y_pred, y_true)
    for thing in (functional.binary_cross_entropy, torch.nn.BCELoss()):
        assert metrics.as_metric(thing)(y_true, y_pred).equal(expected)
    assert metrics.as_metric(torch.nn.BCELoss()).name == "bce_loss"


def test_a_loss_as_a_metric():
    metric = metrics.as_metric(losses.Huber(delta=2.0))
    value = metric(torch.zeros(2, 1), torch.tensor([[1.0], [3.0]]))
    assert metric.name == "huber_loss" and value.item() == 2.25


@pytest.mark.parametrize("unknown, near", [("acuracy", "accuracy"), ("rmsee", "rmse")])
def test_unknown_name(unknown, near):
    with pytest.raises(ValueError, match=f"Unknown metric '{unknown}'.*{near}"):
        metrics.choose(unknown, ONE, ONE)


@pytest.mark.parametrize("thing", [3, object()])
def test_no_metric_at_all(thing):
    with pytest.raises(ValueError, match="Expected a metric"):
        metrics.as_metric(thing)
    with pytest.raises(ValueError, match="Received None"):
        metrics.as_metric(None)
