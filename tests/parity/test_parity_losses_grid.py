"""Every loss on random and edge data, weighted, masked and reduced, against real Keras."""

import json

import keras
import numpy as np
import pytest
import torch
from keras.src.backend import set_keras_mask

from torchkeras import losses

RNG = np.random.default_rng(0)
CLASSES = 4


def _probabilities(*shape):
    values = RNG.random(shape).astype("float32") + 0.05
    return values / values.sum(-1, keepdims=True)


def _numbers(*shape):
    return RNG.random(shape).astype("float32")


def _hot(*shape):
    return np.eye(shape[-1], dtype="float32")[RNG.integers(0, shape[-1], shape[:-1])]


def _bits(*shape):
    return RNG.integers(0, 2, shape).astype("float32")


def _labels(*shape):
    return RNG.integers(0, shape[-1], shape[:-1])


def _unit(*shape):
    values = RNG.standard_normal(shape).astype("float32")
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def _signs(*shape):
    return _bits(*shape) * 2 - 1


NUMBERS = ["MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "Poisson"]
NUMBERS += ["MeanSquaredLogarithmicError", "LogCosh", "Huber", "CosineSimilarity"]
# Loss, its arguments, how targets and predictions are drawn.
CASES = [
    *((name, {}, _numbers, _numbers) for name in NUMBERS),
    ("Huber", {"delta": 0.2}, _numbers, _numbers),
    ("CosineSimilarity", {"axis": 1}, _numbers, _numbers),
    ("KLDivergence", {}, _probabilities, _probabilities),
    ("Hinge", {}, _bits, _numbers),
    ("SquaredHinge", {}, _signs, _numbers),
    ("CategoricalHinge", {}, _hot, _numbers),
    ("BinaryCrossentropy", {}, _bits, _numbers),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, _bits, _signs),
    ("BinaryCrossentropy", {"axis": 0}, _bits, _numbers),
    ("BinaryFocalCrossentropy", {}, _bits, _numbers),
    (
        "BinaryFocalCrossentropy",
        {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5, "label_smoothing": 0.1},
        _bits,
        _numbers,
    ),
    ("BinaryFocalCrossentropy", {"from_logits": True}, _bits, _signs),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, _hot, _probabilities),
    ("CategoricalCrossentropy", {"from_logits": True}, _hot, _numbers),
    ("CategoricalFocalCrossentropy", {}, _hot, _probabilities),
    (
        "CategoricalFocalCrossentropy",
        {"from_logits": True, "alpha": [0.1, 0.2, 0.3, 0.4], "gamma": 3.0, "label_smoothing": 0.1},
        _hot,
        _numbers,
    ),
    ("SparseCategoricalCrossentropy", {}, _labels, _probabilities),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, _labels, _probabilities),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, _labels, _numbers),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.3}, _labels, _probabilities),
    ("Dice", {}, _bits, _numbers),
    ("Dice", {"axis": -1}, _bits, _numbers),
    ("Tversky", {}, _bits, _numbers),
    ("Tversky", {"alpha": 0.2, "beta": 0.7, "axis": 1}, _bits, _numbers),
]
# Those that take matrices alone.
FLAT = [
    ("Circle", {}, lambda *shape: RNG.integers(0, 3, shape[0]), _unit),
    ("Circle", {"gamma": 2.0, "margin": 0.1, "remove_diagonal": False}, _labels, _unit),
]


def _both(name, arguments):
    return getattr(losses, name)(**arguments), getattr(keras.losses, name)(**arguments)


def _gradient(loss, y_true, y_pred, mask=None, weight=None):
    """Return the loss and its gradient by the predictions."""
    y_pred = torch.tensor(y_pred, requires_grad=True)
    if mask is not None:
        set_keras_mask(y_pred, torch.tensor(mask))
    value = loss(torch.tensor(y_true), y_pred, weight)
    (found,) = torch.autograd.grad(value.sum(), y_pred)
    return value.detach().numpy(), found.numpy()


def _compare(name, arguments, *given):
    for mine, theirs in zip(*(_gradient(loss, *given) for loss in _both(name, arguments))):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, 1e-5, 1e-6)


@pytest.mark.parametrize("name, arguments, draw_true, draw_pred", CASES + FLAT)
@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None]
)
def test_reductions_and_weights(name, arguments, draw_true, draw_pred, reduction):
    y_true, y_pred = draw_true(12, CLASSES), draw_pred(12, CLASSES)
    arguments = arguments | {"reduction": reduction}
    _compare(name, arguments, y_true, y_pred)
    if arguments.get("axis") == 0:
        return  # leaves no axis of samples to weigh
    for weight in (_numbers(12), np.zeros(12, "float32"), _numbers(12, 1)):
        if arguments.get("reduction") in ("none", None) and weight.ndim == 2:
            continue  # Keras gives a matrix where there is one value a sample
        _compare(name, arguments, y_true, y_pred, None, weight)


# Those that leave the axes of a mask, and have none of their own.
MASKED = [
    case
    for case in CASES
    if case[0] not in ("Dice", "Tversky")
    and case[1].get("axis", -1) == -1
    and "ignore_class" not in case[1]
]


@pytest.mark.parametrize("name, arguments, draw_true, draw_pred", MASKED)
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_masks(name, arguments, draw_true, draw_pred, reduction):
    y_true, y_pred = draw_true(6, 3, CLASSES), draw_pred(6, 3, CLASSES)
    arguments = arguments | {"reduction": reduction}
    mask, weight = _bits(6, 3) > 0, _numbers(6, 3)
    _compare(name, arguments, y_true, y_pred, mask)
    _compare(name, arguments, y_true, y_pred, mask, weight)
    _compare(name, arguments, y_true, y_pred, mask & False)


@pytest.mark.parametrize("name, arguments, draw_true, draw_pred", CASES)
@pytest.mark.parametrize("kind", ["zeros", "ones", "nan", "large", "small"])
def test_edges(name, arguments, draw_true, draw_pred, kind):
    y_true, y_pred = draw_true(8, CLASSES), draw_pred(8, CLASSES)
    if kind in ("zeros", "ones"):
        y_pred = np.full_like(y_pred, kind == "ones")
        if y_true.dtype == np.float32:
            y_true = np.full_like(y_true, kind == "ones")
    if kind == "nan":  # in the right class, which alone the generalized crossentropy reads
        y_pred[2, 1], y_true[2] = np.nan, 1
    if kind == "large" and draw_pred is _numbers and not name.startswith("Binary"):
        y_pred = y_pred * 1e4
    if kind == "small":
        y_pred = y_pred * 1e-6
    ours, theirs = _both(name, arguments | {"reduction": "none"})
    try:
        expected = theirs(y_true, y_pred).numpy()
    except RuntimeError:  # torch's kernel refuses NaN
        assert kind == "nan"
        assert np.isnan(ours(y_true, y_pred).numpy()).any()
        return
    np.testing.assert_allclose(ours(y_true, y_pred).numpy(), expected, 1e-5, 1e-5)


@pytest.mark.parametrize("labels", [3, 5])
def test_ctc(labels):
    y_true = RNG.integers(1, 6, (4, labels))
    y_true[0, 2:] = 0
    y_pred = RNG.standard_normal((4, 12, 6)).astype("float32")
    for reduction in ("none", "sum_over_batch_size"):
        _compare("CTC", {"reduction": reduction}, y_true, y_pred)
    _compare("CTC", {}, y_true.astype("float32"), y_pred, None, _numbers(4))
    mine = losses.ctc(torch.tensor(y_true), torch.tensor(y_pred))
    theirs = keras.losses.ctc(torch.tensor(y_true), torch.tensor(y_pred))
    torch.testing.assert_close(mine, theirs)


def test_circle_of_other_embeddings():
    y_true, y_pred, others = RNG.integers(0, 3, 8), _unit(8, 5), _unit(11, 5)
    given = {"ref_labels": RNG.integers(0, 3, 11), "ref_embeddings": others}
    given |= {"remove_diagonal": False, "gamma": 4}
    mine, theirs = (
        losses.circle(y_true, y_pred, **given),
        keras.losses.circle(y_true, y_pred, **given),
    )
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_circle_without_pairs_has_no_gradient():
    value, gradient = _gradient(losses.Circle(), np.zeros(4, "int64"), _unit(4, 3))
    assert value == 0 and not gradient.any()


SAVED = [(name, arguments) for name, arguments, *_ in CASES + FLAT] + [("CTC", {})]


@pytest.mark.parametrize("name, arguments", SAVED)
def test_configs_pass_both_ways(name, arguments):
    ours, theirs = _both(name, arguments | {"name": "mine", "reduction": "sum"})
    expected = theirs.get_config()
    if name == "CosineSimilarity" and arguments:
        expected["axis"] = arguments["axis"]  # which Keras loses
    if name == "Huber" and arguments:
        expected["delta"] = arguments["delta"]
    assert ours.get_config() == expected
    written = json.loads(json.dumps(losses.serialize(ours)))
    if name != "CategoricalGeneralizedCrossEntropy":  # which Keras cannot read back either
        assert keras.losses.deserialize(written).get_config() == theirs.get_config()
    read = losses.deserialize(json.loads(json.dumps(keras.losses.serialize(theirs))))
    assert type(read) is type(ours) and read.reduction == "sum" and read.name == "mine"


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["Dice", "BinaryFocalCrossentropy", "Tversky"])
def test_dtypes(name, dtype):
    y_true, y_pred = _bits(6, 3), _numbers(6, 3)
    ours, theirs = (loss(y_true, y_pred) for loss in _both(name, {"dtype": dtype}))
    assert ours.dtype == getattr(torch, dtype)  # Keras' focal ones fall back to float32
    theirs = theirs.to(ours.dtype)
    torch.testing.assert_close(
        ours, theirs, rtol=1e-2 if dtype != "float64" else 1e-6, atol=1e-3 * (dtype != "float64")
    )


def test_names_mean_what_they_mean_in_keras():
    from keras.src.losses import ALL_OBJECTS_DICT

    for name, thing in ALL_OBJECTS_DICT.items():
        if name in ("Loss", "loss", "LossFunctionWrapper", "loss_function_wrapper"):
            continue
        found = losses.get(name)
        mine = (
            found.__name__
            if callable(found) and hasattr(found, "__name__")
            else type(found).__name__
        )
        assert mine == thing.__name__, name
