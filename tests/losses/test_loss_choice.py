"""From what compile is given to a Loss."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchkeras import losses
from torchkeras.registry import custom_object_scope

Y_TRUE = torch.tensor([[0.0], [1.0], [1.0]])
Y_PRED = torch.tensor([[0.2], [0.7], [0.9]])


@pytest.mark.parametrize(
    "names, cls",
    [
        ("mse MSE mean_squared_error MeanSquaredError", "MeanSquaredError"),
        ("mae MAE mean_absolute_error", "MeanAbsoluteError"),
        ("mape MAPE mean_absolute_percentage_error", "MeanAbsolutePercentageError"),
        ("msle MSLE mean_squared_logarithmic_error", "MeanSquaredLogarithmicError"),
        ("huber huber_loss Huber", "Huber"),
        ("logcosh log_cosh LogCosh", "LogCosh"),
        ("bce BCE binary_crossentropy BinaryCrossentropy", "BinaryCrossentropy"),
        ("kld KLD kl_divergence kullback_leibler_divergence KLDivergence", "KLDivergence"),
        ("cosine_similarity", "CosineSimilarity"),
        ("cosine cosine_proximity", "LossFunctionWrapper"),
        ("hinge", "Hinge"),
        ("poisson", "Poisson"),
        ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"),
    ],
)
def test_names(names, cls):
    for name in names.split():
        loss = losses.as_loss(name)
        assert type(loss).__name__ == cls
        is_class = name[0].isupper() and name not in ("MSE", "MAE", "MAPE", "MSLE", "BCE", "KLD")
        assert loss.name == (getattr(losses, name)().name if is_class else name)


def test_functions_classes_instances_and_dictionaries():
    assert isinstance(losses.as_loss(losses.mean_squared_error), losses.MeanSquaredError)
    assert isinstance(losses.as_loss(losses.Huber), losses.Huber)
    mine = losses.Huber(delta=3.0)
    assert losses.as_loss(mine) is mine
    assert losses.as_loss(losses.serialize(mine)).delta == 3.0
    assert losses.as_loss(None) is None


def test_a_function_of_the_users():
    def squaredDistance(y_true, y_pred):
        assert y_true.shape == y_pred.shape and y_true.dtype is torch.float32
        return ((y_true - y_pred) ** 2).sum(-1)

    loss = losses.as_loss(squaredDistance)
    assert loss.name == "squared_distance"
    assert loss(np.array([0, 1, 1]), Y_PRED).item() == pytest.approx(0.14 / 3)
    with custom_object_scope({"mine": squaredDistance}):
        assert losses.as_loss("mine").fn is squaredDistance


def test_a_module_of_the_users_is_called_in_keras_order():
    class Ratio(nn.Module):
        def forward(self, y_true, y_pred):
            return y_true / y_pred

    assert losses.as_loss(Ratio())(torch.ones(2, 1), 2 * torch.ones(2, 1)).item() == 0.5


@pytest.mark.parametrize(
    "unknown, near", [("msee", "mse"), ("binary_crossentropi", "binary_cross")]
)
def test_unknown_name(unknown, near):
    with pytest.raises(ValueError, match=f"Unknown loss '{unknown}'.*{near}"):
        losses.as_loss(unknown)


@pytest.mark.parametrize("thing", [3, 0.5, object()])
def test_no_loss_at_all(thing):
    with pytest.raises(ValueError, match="Expected a loss"):
        losses.as_loss(thing)


# ---------------------------------------------------------------------------- by the shapes


@pytest.mark.parametrize("name", ["crossentropy", "ce", "CE"])
@pytest.mark.parametrize(
    "true, pred, cls",
    [
        ((None, 1), (None, 1), losses.BinaryCrossentropy),
        ((None,), (None, 1), losses.BinaryCrossentropy),
        ((None,), (None, 3), losses.SparseCategoricalCrossentropy),
        ((None, 1), (None, 3), losses.SparseCategoricalCrossentropy),
        ((None, 3), (None, 3), losses.CategoricalCrossentropy),
        ((None, 5), (None, 5, 3), losses.SparseCategoricalCrossentropy),
    ],
)
def test_crossentropy_by_shape(name, true, pred, cls):
    loss = losses.choose(name, true, pred)
    assert type(loss) is cls and loss.name == name


def test_other_losses_do_not_look_at_shapes():
    assert type(losses.choose("mse", (None,), (None, 3))) is losses.MeanSquaredError
    assert losses.is_by_shape("CE") and not losses.is_by_shape("mse")
    with pytest.raises(ValueError, match="chosen by the shapes"):
        losses.as_loss("crossentropy")


# ------------------------------------------------------------------------------ torch's own


def test_torch_losses_get_the_prediction_first():
    assert losses.as_loss(nn.BCELoss())(Y_TRUE, Y_PRED).equal(
        F.binary_cross_entropy(Y_PRED, Y_TRUE)
    )
    assert losses.as_loss(F.binary_cross_entropy)(Y_TRUE, Y_PRED).equal(
        nn.BCELoss()(Y_PRED, Y_TRUE)
    )
    partial = functools.partial(F.huber_loss, delta=0.1)
    assert losses.as_loss(partial)(Y_TRUE, Y_PRED).equal(nn.HuberLoss(delta=0.1)(Y_PRED, Y_TRUE))
    assert losses.as_loss(nn.MSELoss).name == "mse_loss"


def test_torch_losses_keep_their_reduction():
    total = losses.as_loss(nn.MSELoss(reduction="sum"))(Y_TRUE, Y_PRED)
    assert total.item() == pytest.approx(0.14)
    each = losses.as_loss(nn.MSELoss(reduction="none"))
    assert each(Y_TRUE, Y_PRED).item() == pytest.approx(0.14 / 3)
    assert each(Y_TRUE, Y_PRED, [0.0, 0.0, 3.0]).item() == pytest.approx(0.01)


def test_torch_losses_take_flat_and_integer_targets():
    flat = np.array([0, 1, 1])
    assert losses.as_loss(nn.MSELoss())(flat, Y_PRED).item() == pytest.approx(0.14 / 3)
    logits = torch.randn(3, 4)
    expected = F.cross_entropy(logits, torch.tensor([0, 1, 1]))
    for targets in (flat, flat[:, None], flat.astype("int32")):
        assert losses.as_loss(nn.CrossEntropyLoss())(targets, logits).equal(expected)
        assert losses.as_loss(F.cross_entropy)(targets, logits).equal(expected)
    soft = torch.softmax(torch.randn(3, 4), -1)
    loss = losses.as_loss(nn.CrossEntropyLoss())(soft.double(), logits)
    assert loss.equal(F.cross_entropy(logits, soft))


def test_torch_loss_that_reduces_cannot_weigh():
    with pytest.raises(ValueError, match="reduces by itself.*reduction='none'"):
        losses.as_loss(nn.MSELoss())(Y_TRUE, Y_PRED, [1.0, 2.0, 3.0])


def test_torch_loss_has_no_config():
    with pytest.raises(ValueError, match="has no Keras config"):
        losses.as_loss(nn.MSELoss()).get_config()


@pytest.mark.cuda
def test_torch_loss_moves_its_class_weights():
    loss = losses.as_loss(nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0])))
    assert torch.isfinite(loss([0, 1], torch.randn(2, 2, device="cuda")))
