"""The Loss base: reductions, weights, what a subclass may do, how bad input fails."""

import copy
import pickle

import numpy as np
import pytest
import torch

from torchkeras import eras, losses

Y_TRUE = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
Y_PRED = torch.tensor([[1.0, 1.0], [1.0, 3.0]])


class LargestError(losses.Loss):
    def call(self, y_true, y_pred):
        return (y_true - y_pred).abs().amax(-1)


def test_values_by_hand():
    assert losses.mean_squared_error(Y_TRUE, Y_PRED).tolist() == [0.5, 5.0]
    assert losses.MeanSquaredError()(Y_TRUE, Y_PRED).item() == 2.75
    assert losses.MeanSquaredError(reduction="sum")(Y_TRUE, Y_PRED).item() == 5.5
    weighted = losses.MeanSquaredError(reduction="mean_with_sample_weight")
    assert weighted(Y_TRUE, Y_PRED, [1.0, 3.0]).item() == 15.5 / 4


def test_takes_lists_arrays_and_tensors():
    loss = losses.MeanSquaredError()
    assert loss(Y_TRUE.tolist(), Y_PRED.tolist()).item() == 2.75
    assert loss(Y_TRUE.numpy().astype(int), Y_PRED).item() == 2.75
    assert loss(Y_TRUE.tolist(), Y_PRED.tolist()).dtype is torch.float32


def test_a_subclass_gets_tensors_of_the_loss_dtype():
    seen = []

    class Spy(losses.Loss):
        def call(self, y_true, y_pred):
            seen.extend([y_true.dtype, y_pred.dtype])
            return y_pred.mean(-1)

    Spy()(np.ones((2, 3), "int64"), np.ones((2, 3)))
    assert seen == [torch.float32, torch.float32]


def test_a_subclass_gets_structures_as_they_are():
    class OfTwo(losses.Loss):
        def call(self, y_true, y_pred):
            return y_pred["a"] - y_true["a"] + y_pred["b"][0]

    y_pred = {"a": torch.ones(2), "b": [np.ones(2)]}
    assert OfTwo()({"a": np.zeros(2), "b": [np.zeros(2)]}, y_pred).item() == 2.0


def test_a_subclass_of_a_built_in_loss_goes_its_own_way():
    class Doubled(losses.MeanSquaredError):
        def call(self, y_true, y_pred):
            return 2 * super().call(y_true, y_pred)

    assert Doubled()(Y_TRUE, Y_PRED).item() == 5.5


def test_call_must_be_written():
    with pytest.raises(NotImplementedError, match="must implement call"):
        losses.Loss()(Y_TRUE, Y_PRED)


def test_a_subclass_is_named_after_its_class():
    assert LargestError().name.startswith("largest_error")
    assert LargestError(name="mine").get_config()["name"] == "mine"


def test_config_of_a_users_loss():
    class Quantile(losses.Loss):
        def __init__(self, q, name="quantile"):
            super().__init__(name=name)
            self.q = q

        def call(self, y_true, y_pred):
            error = y_true - y_pred
            return torch.maximum(self.q * error, (self.q - 1) * error).mean(-1)

    again = Quantile.from_config(Quantile(0.9).get_config())
    assert again.q == 0.9 and again.name == "quantile"
    assert again(Y_TRUE, Y_PRED).item() == pytest.approx(0.125)


def test_is_no_module_and_copies():
    loss = losses.BinaryCrossentropy(label_smoothing=0.1)
    assert not isinstance(loss, torch.nn.Module)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert twin(Y_TRUE, 0.3 * Y_PRED).equal(loss(Y_TRUE, 0.3 * Y_PRED))


def test_nan_is_reported_not_raised():
    y_pred = torch.tensor([[0.5], [float("nan")]], requires_grad=True)
    for name in ("BinaryCrossentropy", "MeanSquaredError", "Hinge", "Huber"):
        loss = getattr(losses, name)()(torch.ones(2, 1), y_pred)
        assert loss.isnan()
        loss.backward()
    assert losses.binary_crossentropy(torch.ones(2, 1), y_pred)[0].item() == pytest.approx(0.693147)
    rows = torch.tensor([[0.5, 0.5], [float("nan"), 0.5]])
    assert losses.SparseCategoricalCrossentropy()([0, 1], rows).isnan()


def test_crossentropy_without_torchs_kernel_is_the_same():
    probability = torch.tensor([[0.0], [1.0], [0.3], [0.9999]])
    for target in (0.0, 1.0, 0.4):
        y_true = torch.full((4, 1), target)
        safe = torch.cat([probability, torch.tensor([[float("nan")]])])
        values = losses.binary_crossentropy(torch.cat([y_true, y_true[:1]]), safe)[:4]
        torch.testing.assert_close(values, losses.binary_crossentropy(y_true, probability))


def test_weights_of_samples_hold_for_all_their_steps():
    y_true, y_pred = torch.zeros(3, 3, 2), torch.rand(3, 3, 2)
    weight = torch.tensor([0.0, 1.0, 2.0])
    loss = losses.MeanSquaredError(reduction="none")(y_true, y_pred, weight)
    expected = losses.mean_squared_error(y_true, y_pred) * weight[:, None]
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (3, 1), (2, 1, 1)])
def test_weights_that_do_not_fit(shape):
    with pytest.raises(
        ValueError, match=r"`sample_weight` of shape .* does not fit .* shape \(2,\)"
    ):
        losses.MeanSquaredError()(Y_TRUE, Y_PRED, np.ones(shape))


def test_unknown_reduction():
    with pytest.raises(ValueError, match="`reduction` must be one of .*'sum'.*; received 'avg'"):
        losses.MeanSquaredError(reduction="avg")


def test_unknown_argument():
    with pytest.raises(ValueError, match="MeanSquaredError.*'reductoin'.*'reduction'"):
        losses.MeanSquaredError(reductoin="sum")


@pytest.mark.parametrize("name", ["binary_crossentropy", "categorical_crossentropy"])
def test_shapes_that_differ(name):
    with pytest.raises(ValueError, match=rf"{name} needs .* one shape.*\(4, 3\).*\(4, 2\)"):
        getattr(losses, name)(torch.zeros(4, 3), torch.rand(4, 2))


def test_one_hot_targets_in_a_sparse_loss():
    with pytest.raises(ValueError, match=r"\(4,\).*received targets of shape \(4, 3\).*one-hot"):
        losses.sparse_categorical_crossentropy(torch.eye(4)[:, :3], torch.rand(4, 3))


@pytest.mark.parametrize("name", ["Categorical", "SparseCategorical"])
def test_axis_must_be_an_integer(name):
    with pytest.raises(ValueError, match="`axis` must be an integer; received True"):
        getattr(losses, f"{name}Crossentropy")(axis=True)(torch.zeros(2, 2), torch.rand(2, 2))


def test_categorical_crossentropy_of_one_class_warns():
    with pytest.warns(SyntaxWarning, match="use binary_crossentropy"):
        losses.categorical_crossentropy(torch.ones(4, 1), torch.rand(4, 1))


@pytest.mark.parametrize("era, converts", [("1", False), ("2", False), ("2.3", True), ("3", True)])
def test_hinge_takes_zeros_since_2_3(era, converts):
    with eras.using(era):
        value = losses.hinge(torch.zeros(1, 1), torch.ones(1, 1)).item()
    assert value == (2.0 if converts else 1.0)


@pytest.mark.parametrize("era, value", [("1", -0.5), ("2.0.8", -0.5), ("2", -1.0), ("3", -1.0)])
def test_cosine_proximity_of_its_time(era, value):
    with eras.using(era):
        ours = losses.get("cosine_proximity")(torch.ones(1, 2), torch.ones(1, 2))
    assert ours.item() == pytest.approx(value)


@pytest.mark.cuda
def test_targets_follow_the_predictions():
    y_pred = Y_PRED.cuda()
    assert losses.MeanSquaredError()(Y_TRUE.numpy(), y_pred, [1.0, 1.0]).item() == 2.75
    assert losses.MeanSquaredError()(Y_TRUE, y_pred).item() == 2.75
