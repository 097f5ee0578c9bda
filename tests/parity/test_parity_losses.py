"""Losses against Keras': values, reductions, weights, gradients, extremes, configs."""

import keras
import numpy as np
import pytest
import torch

from torchkeras import losses
from torchkeras.losses.reduction import REDUCTIONS

FLOATS = ["mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error"]
FLOATS += ["mean_squared_logarithmic_error", "huber", "log_cosh", "cosine_similarity"]
# function -> class, and what its targets and predictions are
LOSSES = {
    "mean_squared_error": ("MeanSquaredError", "numbers"),
    "mean_absolute_error": ("MeanAbsoluteError", "numbers"),
    "mean_absolute_percentage_error": ("MeanAbsolutePercentageError", "numbers"),
    "mean_squared_logarithmic_error": ("MeanSquaredLogarithmicError", "numbers"),
    "huber": ("Huber", "numbers"),
    "log_cosh": ("LogCosh", "numbers"),
    "cosine_similarity": ("CosineSimilarity", "numbers"),
    "hinge": ("Hinge", "signs"),
    "squared_hinge": ("SquaredHinge", "bits"),
    "categorical_hinge": ("CategoricalHinge", "onehot"),
    "kl_divergence": ("KLDivergence", "distributions"),
    "poisson": ("Poisson", "counts"),
    "binary_crossentropy": ("BinaryCrossentropy", "bits"),
    "categorical_crossentropy": ("CategoricalCrossentropy", "onehot"),
    "sparse_categorical_crossentropy": ("SparseCategoricalCrossentropy", "labels"),
}
SHAPES = [(7, 3), (4, 5, 3), (6, 2)]


def batch(kind, shape, seed=0):
    """Draw targets and predictions of a kind; predictions ``shape``, float32."""
    rng = np.random.default_rng(seed)
    classes = shape[-1]
    probabilities = rng.dirichlet(np.ones(classes), shape[:-1]).astype("float32")
    labels = rng.integers(0, classes, shape[:-1])
    if kind == "numbers":
        return rng.normal(size=shape).astype("float32"), rng.normal(size=shape).astype("float32")
    if kind == "signs":
        return rng.choice([-1, 1], shape), rng.normal(size=shape).astype("float32")
    if kind == "bits":
        return rng.integers(0, 2, shape), rng.uniform(size=shape).astype("float32")
    if kind == "onehot":
        return np.eye(classes, dtype="int64")[labels], probabilities
    if kind == "labels":
        return labels, probabilities
    if kind == "counts":
        return rng.poisson(3.0, shape), rng.gamma(2.0, 1.0, shape).astype("float32")
    return rng.dirichlet(np.ones(classes), shape[:-1]).astype("float32"), probabilities


def close(ours, theirs, rtol=1e-5, atol=1e-6):
    ours, theirs = (
        t.detach().numpy() if isinstance(t, torch.Tensor) else t for t in (ours, theirs)
    )
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def value_and_gradient(loss, y_true, y_pred, sample_weight=None):
    """Return the loss and the gradient of its sum."""
    prediction = torch.tensor(y_pred, requires_grad=True)
    value = loss(torch.as_tensor(y_true), prediction, sample_weight)
    value.sum().backward()
    return value, prediction.grad


def same(name, y_true, y_pred, sample_weight=None, **kwargs):
    """Compare value and gradient of a loss class with Keras'."""
    ours = value_and_gradient(getattr(losses, name)(**kwargs), y_true, y_pred, sample_weight)
    theirs = value_and_gradient(
        getattr(keras.losses, name)(**kwargs), y_true, y_pred, sample_weight
    )
    close(ours[0], theirs[0])
    close(ours[1], theirs[1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LOSSES)
def test_functions(name, shape):
    y_true, y_pred = batch(LOSSES[name][1], shape)
    ours = getattr(losses, name)(torch.as_tensor(y_true), torch.as_tensor(y_pred))
    theirs = getattr(keras.losses, name)(torch.as_tensor(y_true), torch.as_tensor(y_pred))
    assert ours.dtype is theirs.dtype
    close(ours, theirs)
    close(getattr(losses, name)(y_true, y_pred), theirs)


@pytest.mark.parametrize("name", FLOATS)
def test_functions_give_a_rank_to_flat_targets(name):
    y_true, y_pred = np.arange(4.0, dtype="float32"), np.ones((4, 1), "float32")
    close(getattr(losses, name)(y_true, y_pred), getattr(keras.losses, name)(y_true, y_pred))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_reductions_without_weights(name, shape, reduction):
    y_true, y_pred = batch(LOSSES[name][1], shape)
    same(LOSSES[name][0], y_true, y_pred, reduction=reduction)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("column", [False, True])
def test_weights_per_sample(name, reduction, column):
    y_true, y_pred = batch(LOSSES[name][1], (7, 3))
    weight = np.linspace(0.0, 2.0, 7, dtype="float32")
    weight = weight[:, None] if column else weight
    same(LOSSES[name][0], y_true, y_pred, weight, reduction=reduction)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(4, 5), (4, 1), ()])
def test_weights_per_value(name, reduction, shape):
    y_true, y_pred = batch(LOSSES[name][1], (4, 5, 3))
    weight = np.random.default_rng(1).uniform(size=shape).astype("float32")
    same(LOSSES[name][0], y_true, y_pred, weight, reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weights_that_sum_to_zero(reduction):
    y_true, y_pred = batch("numbers", (4, 3))
    same("MeanSquaredError", y_true, y_pred, np.zeros(4, "float32"), reduction=reduction)


@pytest.mark.parametrize("name", [n for n in LOSSES if not n.startswith(("cat", "sparse"))])
@pytest.mark.parametrize("as_column", [False, True])
def test_one_output(name, as_column):
    kind = LOSSES[name][1]
    y_true, y_pred = batch(kind, (9, 2))
    y_true, y_pred = y_true[:, :1], y_pred[:, :1].copy()
    same(LOSSES[name][0], y_true if as_column else y_true[:, 0], y_pred)


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint8", "bool"])
def test_target_dtypes(dtype):
    y_true, y_pred = batch("bits", (7, 3))
    same("BinaryCrossentropy", y_true.astype(dtype), y_pred)
    same("MeanSquaredError", y_true.astype(dtype), y_pred)
    y_true, y_pred = batch("labels", (7, 3))
    same("SparseCategoricalCrossentropy", y_true.astype(dtype), y_pred)


def test_computes_in_its_own_dtype():
    y_true, y_pred = batch("numbers", (7, 3))
    ours = losses.MeanSquaredError(dtype="float64")
    theirs = keras.losses.MeanSquaredError(dtype="float64")
    assert ours(y_true, y_pred).dtype is torch.float64  # Keras' ends in float32.
    close(ours(y_true, y_pred).float(), theirs(y_true, y_pred).float())
    y_pred = torch.as_tensor(y_pred, dtype=torch.float64)
    assert losses.MeanSquaredError()(y_true, y_pred).dtype is torch.float32


# ------------------------------------------------------------------------------ arguments

LOGITS = np.random.default_rng(3).normal(0, 4, (4, 5, 3)).astype("float32")
BITS = np.random.default_rng(4).integers(0, 2, (4, 5, 3))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("axis", [-1, 1, 0])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
def test_binary_crossentropy_arguments(smoothing, from_logits, axis, reduction):
    y_pred = LOGITS if from_logits else batch("bits", (4, 5, 3))[1]
    arguments = {"from_logits": from_logits, "label_smoothing": smoothing, "axis": axis}
    same("BinaryCrossentropy", BITS, y_pred, reduction=reduction, **arguments)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
def test_categorical_crossentropy_arguments(smoothing, from_logits, axis, reduction):
    y_true, y_pred = batch("onehot", (4, 5, 3))
    y_pred = LOGITS if from_logits else y_pred
    if axis == 1:
        y_true, y_pred = y_true.swapaxes(1, 2), y_pred.swapaxes(1, 2).copy()
    arguments = {"from_logits": from_logits, "label_smoothing": smoothing, "axis": axis}
    same("CategoricalCrossentropy", y_true, y_pred, reduction=reduction, **arguments)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("ignore_class", [None, 0, -1])
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_sparse_crossentropy_arguments(from_logits, ignore_class, axis, reduction, weighted):
    y_true, y_pred = batch("labels", (4, 5, 3))
    if ignore_class == -1:
        y_true[1, 2:] = -1
    y_pred = LOGITS if from_logits else y_pred
    if axis == 1:
        y_pred = y_pred.swapaxes(1, 2).copy()
    weight = np.random.default_rng(1).uniform(size=(4, 5)).astype("float32") if weighted else None
    arguments = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
    same("SparseCategoricalCrossentropy", y_true, y_pred, weight, reduction=reduction, **arguments)


def test_sparse_crossentropy_of_column_labels():
    y_true, y_pred = batch("labels", (7, 3))
    same("SparseCategoricalCrossentropy", y_true[:, None], y_pred)
    same("SparseCategoricalCrossentropy", y_true[:, None].astype("float32"), y_pred)


@pytest.mark.parametrize("delta", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
def test_huber_delta(delta, reduction):
    y_true, y_pred = batch("numbers", (20, 3))
    same("Huber", y_true, 3 * y_pred, delta=delta, reduction=reduction)


@pytest.mark.parametrize("axis", [-1, 1, 0])
def test_cosine_axis(axis):
    y_true, y_pred = batch("numbers", (4, 5, 3))
    same("CosineSimilarity", y_true, y_pred, axis=axis)
    same("CosineSimilarity", y_true, y_pred, axis=axis, reduction="none")


# -------------------------------------------------------------------------------- extremes

EDGES = np.array([0.0, 1.0, 1e-7, 1 - 1e-7, 0.5, 1e-8, 0.9999999, 0.25], "float32")


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
@pytest.mark.parametrize("target", [0, 1, 0.3])
def test_binary_crossentropy_of_extreme_probabilities(reduction, target):
    y_true = np.full((8, 1), target, "float32")
    same("BinaryCrossentropy", y_true, EDGES[:, None].copy(), reduction=reduction)


@pytest.mark.parametrize("target", [0, 1])
def test_binary_crossentropy_of_extreme_logits(target):
    logits = np.array([[-100.0], [100.0], [0.0], [-1e4], [1e4], [30.0]], "float32")
    same("BinaryCrossentropy", np.full((6, 1), target), logits, from_logits=True)


@pytest.mark.parametrize("right", [0, 1, 2])
def test_categorical_crossentropies_of_extremes(right):
    rows = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [1e-8, 1, 0], [5, 0, 0]]
    y_pred, labels = np.array(rows, "float32"), np.full(6, right)
    same("CategoricalCrossentropy", np.eye(3)[labels], y_pred)
    same("SparseCategoricalCrossentropy", labels, y_pred)
    logits = np.array([[100, -100, 0], [-100, 100, 0], [0, 0, 0], [1e4, 0, -1e4]], "float32")
    same("CategoricalCrossentropy", np.eye(3)[labels[:4]], logits, from_logits=True)
    same("SparseCategoricalCrossentropy", labels[:4], logits, from_logits=True)


@pytest.mark.parametrize("name", [n for n in FLOATS if n != "cosine_similarity"])
def test_extreme_numbers(name):
    y_true = np.array([[0.0], [0.0], [1e-9], [-1.0], [1e4], [-1e4], [2.0], [3.0]], "float32")
    y_pred = np.array([[0.0], [100.0], [-1e-9], [-100.0], [-1e4], [1e4], [1.0], [3.0]], "float32")
    same(LOSSES[name][0], y_true, y_pred)
    same(LOSSES[name][0], y_true, y_pred, reduction="none")


def test_cosine_of_a_zero_vector():
    y_true, y_pred = np.ones((2, 3), "float32"), np.array([[0, 0, 0], [1e-9, 0, 0]], "float32")
    loss = losses.CosineSimilarity(reduction="none")
    value, gradient = value_and_gradient(loss, y_true, y_pred)
    close(value, keras.losses.CosineSimilarity(reduction="none")(y_true, y_pred))
    assert torch.isfinite(gradient).all()  # Keras' is NaN here.


@pytest.mark.parametrize("name", ["Hinge", "SquaredHinge"])
def test_hinges_at_the_margin_and_far_off(name):
    y_pred = np.array([[1.0], [-1.0], [0.0], [100.0], [-100.0], [0.5]], "float32")
    for y_true in ([1, -1, 1, -1, 1, -1], [1, 0, 1, 0, 1, 0], [2, 1, 0, -1, 0, 1]):
        same(name, np.array(y_true)[:, None], y_pred)


def test_categorical_hinge_ties():
    y_true = np.eye(3)[[0, 1, 2, 0]]
    y_pred = np.array([[1, 0, 0], [2, 2, 2], [0, 0, 0], [-5, 100, 100]], "float32")
    same("CategoricalHinge", y_true, y_pred)


def test_distributions_at_zero_and_one():
    y_true = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]], "float32")
    y_pred = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]], "float32")
    same("KLDivergence", y_true, y_pred)
    same("Poisson", np.array([[0], [5], [2]]), np.array([[0], [0], [1e4]], "float32"))


# ----------------------------------------------------------------------------- custom losses


def test_a_users_subclass():
    class Ours(losses.Loss):
        def call(self, y_true, y_pred):
            return (y_true - y_pred).abs().amax(-1)

    class Theirs(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.max(keras.ops.abs(y_true - y_pred), axis=-1)

    y_true, y_pred = batch("bits", (7, 3))
    for weight in (None, np.linspace(0, 1, 7)):
        for reduction in REDUCTIONS:
            ours, theirs = Ours(reduction=reduction), Theirs(reduction=reduction)
            close(ours(y_true, y_pred, weight), theirs(y_true, y_pred, weight))


def test_a_function_that_gives_a_number():
    def mean(y_true, y_pred):
        return torch.mean((y_true - y_pred) ** 2)

    y_true, y_pred = batch("bits", (7, 3))
    theirs = keras.src.losses.losses.LossFunctionWrapper(mean)
    for weight in (None, np.linspace(0, 1, 7)):
        close(losses.as_loss(mean)(y_true, y_pred, weight), theirs(y_true, y_pred, weight))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_masked_predictions(reduction, weighted):
    y_true, y_pred = batch("numbers", (4, 5, 3))
    mask = torch.as_tensor(np.random.default_rng(2).integers(0, 2, (4, 5)).astype(bool))
    weight = np.random.default_rng(1).uniform(size=(4, 5)).astype("float32") if weighted else None
    prediction = torch.as_tensor(y_pred)
    prediction._keras_mask = mask
    ours = losses.MeanSquaredError(reduction=reduction)(y_true, prediction, weight)
    prediction = torch.as_tensor(y_pred)
    keras.src.backend.set_keras_mask(prediction, mask)
    theirs = keras.losses.MeanSquaredError(reduction=reduction)(y_true, prediction, weight)
    close(ours, theirs)


# --------------------------------------------------------------------------------- configs


@pytest.mark.parametrize("name", [cls for cls, _ in LOSSES.values()])
def test_configs(name):
    ours, theirs = getattr(losses, name)(), getattr(keras.losses, name)()
    assert ours.get_config() == theirs.get_config()
    assert losses.serialize(ours) == keras.losses.serialize(theirs)
    assert ours.dtype == theirs.dtype
    again = losses.deserialize(keras.losses.serialize(theirs))
    assert type(again) is type(ours) and again.get_config() == ours.get_config()


@pytest.mark.parametrize("name", LOSSES)
def test_functions_serialize(name):
    ours = losses.serialize(getattr(losses, name))
    assert ours == keras.losses.serialize(getattr(keras.losses, name))
    assert losses.deserialize(ours) is getattr(losses, name)


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("Huber", {"delta": 2.0, "name": "h", "reduction": "sum"}),
        ("CosineSimilarity", {"axis": 1}),
        ("SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": 3, "axis": 1}),
        ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1, "axis": 1}),
        ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    ],
)
def test_configs_with_arguments(name, arguments):
    ours, theirs = getattr(losses, name)(**arguments), getattr(keras.losses, name)(**arguments)
    # Keras loses delta and these axes on the way; ours has them where they are not the default.
    extra = {"Huber": ("delta",), "CosineSimilarity": ("axis",)}.get(name, ())
    extra = ("axis",) if name.startswith("Sparse") else extra
    expected = {**theirs.get_config(), **{key: arguments[key] for key in extra}}
    assert ours.get_config() == expected
    assert type(ours).from_config(ours.get_config()).get_config() == expected
    loaded = keras.losses.deserialize(losses.serialize(ours))
    assert loaded.get_config() == theirs.get_config()


def test_wrapper_config():
    theirs = keras.src.losses.losses.LossFunctionWrapper(keras.losses.huber, delta=2.0, name="h")
    ours = losses.LossFunctionWrapper(losses.huber, delta=2.0, name="h")
    assert ours.get_config() == theirs.get_config()
    again = losses.LossFunctionWrapper.from_config(ours.get_config())
    assert again.fn is losses.huber and again.kwargs == {"delta": 2.0}


@pytest.mark.parametrize("name", ["bce", "kld", "mae", "mape", "mse", "msle"])
def test_short_names(name):
    theirs = keras.src.losses.ALL_OBJECTS_DICT
    for case in (name, name.upper()):
        assert losses.get(case).__name__ == theirs[case].__name__
        assert losses.as_loss(case).name == case
