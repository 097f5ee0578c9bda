"""Metrics against Keras': functions, states over batches, weights, names, configs."""

import keras
import numpy as np
import pytest
import torch
from keras.src.trainers import compile_utils

from torchkeras import metrics

# class -> what its targets and predictions are
METRICS = {
    "Accuracy": "counted",
    "BinaryAccuracy": "bits",
    "CategoricalAccuracy": "onehot",
    "SparseCategoricalAccuracy": "labels",
    "TopKCategoricalAccuracy": "onehot",
    "SparseTopKCategoricalAccuracy": "labels",
    "MeanSquaredError": "numbers",
    "RootMeanSquaredError": "numbers",
    "MeanAbsoluteError": "numbers",
    "MeanAbsolutePercentageError": "numbers",
    "MeanSquaredLogarithmicError": "numbers",
    "CosineSimilarity": "numbers",
    "LogCoshError": "numbers",
    "Hinge": "bits",
    "SquaredHinge": "signs",
    "CategoricalHinge": "onehot",
    "KLDivergence": "distributions",
    "Poisson": "counts",
    "BinaryCrossentropy": "bits",
    "CategoricalCrossentropy": "onehot",
    "SparseCategoricalCrossentropy": "labels",
}
FUNCTIONS = {
    "binary_accuracy": "bits",
    "categorical_accuracy": "onehot",
    "sparse_categorical_accuracy": "labels",
    "top_k_categorical_accuracy": "onehot",
    "sparse_top_k_categorical_accuracy": "labels",
}
NUMBERS = [name for name, kind in METRICS.items() if kind == "numbers"]


def batch(kind, shape, seed=0):
    """Draw targets and predictions of a kind; predictions ``shape``, float32."""
    rng = np.random.default_rng(seed)
    classes = shape[-1]
    probabilities = rng.dirichlet(np.ones(classes), shape[:-1]).astype("float32")
    labels = rng.integers(0, classes, shape[:-1])
    if kind == "numbers":
        return rng.normal(size=shape).astype("float32"), rng.normal(size=shape).astype("float32")
    if kind == "counted":
        return rng.integers(0, 3, shape), rng.integers(0, 3, shape).astype("float32")
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


def close(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-5, atol=1e-6)


def same(ours, theirs, *batches):
    """Update both with batches, comparing the result and the state after each."""
    for arguments in batches:
        tensors = [None if a is None else torch.as_tensor(a) for a in arguments]
        ours.update_state(*tensors)
        theirs.update_state(*tensors)
        close(ours.result(), theirs.result())
        for mine, other in zip(ours.variables, theirs.variables, strict=True):
            close(mine.numpy(), other.numpy())
            assert mine.path == other.path


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("shape", [(7, 6), (4, 5, 6)])
def test_results_over_batches(name, shape):
    batches = [batch(METRICS[name], shape, seed) for seed in range(3)]
    same(getattr(metrics, name)(), getattr(keras.metrics, name)(), *batches)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("weights", [(7,), (7, 1), ()])
def test_weights_per_sample(name, weights):
    rng = np.random.default_rng(5)
    batches = [
        (*batch(METRICS[name], (7, 6), seed), rng.uniform(size=weights).astype("float32"))
        for seed in range(3)
    ]
    same(getattr(metrics, name)(), getattr(keras.metrics, name)(), *batches)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("weights", [(4,), (4, 5), (4, 1)])
def test_weights_of_steps(name, weights):
    rng = np.random.default_rng(5)
    batches = [
        (*batch(METRICS[name], (4, 5, 6), seed), rng.uniform(size=weights).astype("float32"))
        for seed in range(3)
    ]
    same(getattr(metrics, name)(), getattr(keras.metrics, name)(), *batches)


@pytest.mark.parametrize("name", ["BinaryAccuracy", "MeanSquaredError", "RootMeanSquaredError"])
def test_weights_of_elements(name):
    y_true, y_pred = batch(METRICS[name], (7, 6))
    weight = np.random.default_rng(5).uniform(size=(7, 6)).astype("float32")
    if name == "MeanSquaredError":
        weight = weight[:, :1]
    same(getattr(metrics, name)(), getattr(keras.metrics, name)(), (y_true, y_pred, weight))


@pytest.mark.parametrize("name", METRICS)
def test_weights_of_zero(name):
    y_true, y_pred = batch(METRICS[name], (7, 6))
    weight = np.zeros(7, "float32")
    same(getattr(metrics, name)(), getattr(keras.metrics, name)(), (y_true, y_pred, weight))


@pytest.mark.parametrize("name", ["Mean", "Sum"])
def test_mean_and_sum(name):
    rng = np.random.default_rng(5)
    values = [rng.normal(size=s).astype("float32") for s in [(4,), (4, 3), (4, 3, 2), ()]]
    same(getattr(metrics, name)(), getattr(keras.metrics, name)(), *[(v,) for v in values])
    weighted = [
        (values[0], rng.uniform(size=4)),
        (values[1], rng.uniform(size=4)),
        (values[1], rng.uniform(size=(4, 3))),
        (values[1], rng.uniform(size=(4, 1))),
        (values[2], rng.uniform(size=(4, 3))),
        (values[3], np.asarray(32)),
    ]
    same(getattr(metrics, name)(), getattr(keras.metrics, name)(), *weighted)
    assert float(getattr(metrics, name)()([1.0, 3.0])) == float(
        getattr(keras.metrics, name)()([1.0, 3.0])
    )


@pytest.mark.parametrize("name", ["BinaryAccuracy", "Accuracy", *NUMBERS])
def test_flat_targets_against_one_output(name):
    y_true, y_pred = batch(METRICS[name], (9, 1))
    same(getattr(metrics, name)(), getattr(keras.metrics, name)(), (y_true[:, 0], y_pred))
    same(getattr(metrics, name)(), getattr(keras.metrics, name)(), (y_true, y_pred))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool"])
def test_target_dtypes(dtype):
    y_true, y_pred = batch("bits", (9, 1))
    y_true = y_true.astype(dtype)
    same(metrics.BinaryAccuracy(), keras.metrics.BinaryAccuracy(), (y_true, y_pred))
    y_true, y_pred = batch("onehot", (9, 3))
    y_true = y_true.astype(dtype)
    same(metrics.CategoricalAccuracy(), keras.metrics.CategoricalAccuracy(), (y_true, y_pred))
    if dtype != "bool":
        y_true, y_pred = batch("labels", (9, 3))
        y_true = y_true.astype(dtype)[:, None]
        ours, theirs = (
            metrics.SparseCategoricalAccuracy(),
            keras.metrics.SparseCategoricalAccuracy(),
        )
        same(ours, theirs, (y_true, y_pred))


@pytest.mark.parametrize("shape", [(7, 6), (4, 5, 6)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, shape):
    y_true, y_pred = batch(FUNCTIONS[name], shape)
    ours, theirs = (
        getattr(metrics, name)(y_true, y_pred),
        getattr(keras.metrics, name)(y_true, y_pred),
    )
    assert ours.shape == theirs.shape and ours.dtype is theirs.dtype
    close(ours, theirs)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 1.0])
def test_binary_threshold(threshold):
    y_pred = np.array([[0.0], [0.2], [0.5], [1.0], [0.50001]], "float32")
    for y_true in (0, 1):
        ours = metrics.binary_accuracy(np.full((5, 1), y_true), y_pred, threshold)
        close(ours, keras.metrics.binary_accuracy(np.full((5, 1), y_true), y_pred, threshold))
    ours, theirs = metrics.BinaryAccuracy, keras.metrics.BinaryAccuracy
    same(ours(threshold=threshold), theirs(threshold=threshold), batch("bits", (9, 2)))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_with_ties(k):
    rng = np.random.default_rng(0)
    y_pred = rng.integers(0, 3, (40, 4)).astype("float32")
    labels = rng.integers(0, 4, 40)
    ours, theirs = metrics.SparseTopKCategoricalAccuracy(k=k), keras.metrics
    same(ours, theirs.SparseTopKCategoricalAccuracy(k=k), (labels, y_pred))
    ours = metrics.TopKCategoricalAccuracy(k=k)
    same(ours, theirs.TopKCategoricalAccuracy(k=k), (np.eye(4)[labels], y_pred))


def test_top_k_of_sorted_class_numbers():
    rng = np.random.default_rng(0)
    y_pred, labels = rng.permuted(np.tile(np.arange(6), (20, 1)), axis=1), rng.integers(0, 6, 20)
    arguments = {"k": 2, "from_sorted_ids": True}
    theirs = keras.metrics.SparseTopKCategoricalAccuracy(**arguments)
    same(metrics.SparseTopKCategoricalAccuracy(**arguments), theirs, (labels, y_pred))


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("smoothing", [0, 0.2])
def test_crossentropy_arguments(from_logits, smoothing):
    logits = np.random.default_rng(1).normal(0, 3, (7, 6)).astype("float32")
    arguments = {"from_logits": from_logits, "label_smoothing": smoothing}
    for name in ("BinaryCrossentropy", "CategoricalCrossentropy"):
        y_true, y_pred = batch(METRICS[name], (7, 6))
        y_pred = logits if from_logits else y_pred
        ours, theirs = getattr(metrics, name), getattr(keras.metrics, name)
        same(ours(**arguments), theirs(**arguments), (y_true, y_pred))


@pytest.mark.parametrize("ignore_class", [None, 2, -1])
@pytest.mark.parametrize("weighted", [False, True])
def test_sparse_crossentropy_arguments(ignore_class, weighted):
    y_true, y_pred = batch("labels", (7, 6))
    if ignore_class == -1:
        y_true[2:4] = -1
    weight = np.linspace(0, 1, 7, dtype="float32") if weighted else None
    arguments = {"ignore_class": ignore_class, "from_logits": True}
    theirs = keras.metrics.SparseCategoricalCrossentropy(**arguments)
    ours = metrics.SparseCategoricalCrossentropy(**arguments)
    same(ours, theirs, (y_true, y_pred, weight))


def test_extremes():
    y_pred = np.array([[0.0], [1.0], [0.5], [1e-8]], "float32")
    for y_true in (0, 1):
        y_true = np.full((4, 1), y_true)
        for name in ("BinaryCrossentropy", "BinaryAccuracy", "Hinge", "MeanSquaredError"):
            ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
            same(ours, theirs, (y_true, y_pred))
    zero = np.zeros((2, 3), "float32")
    same(metrics.CosineSimilarity(), keras.metrics.CosineSimilarity(), (zero, zero + 1))


@pytest.mark.parametrize("weighted", [False, True])
def test_masked_predictions(weighted):
    y_true, y_pred = batch("numbers", (4, 5, 3))
    mask = torch.as_tensor(np.random.default_rng(2).integers(0, 2, (4, 5)).astype(bool))
    weight = np.random.default_rng(1).uniform(size=(4, 5)).astype("float32") if weighted else None
    ours, theirs = metrics.MeanSquaredError(), keras.metrics.MeanSquaredError()
    prediction = torch.as_tensor(y_pred)
    prediction._keras_mask = mask
    ours.update_state(torch.as_tensor(y_true), prediction, weight)
    prediction = torch.as_tensor(y_pred)
    keras.src.backend.set_keras_mask(prediction, mask)
    theirs.update_state(torch.as_tensor(y_true), prediction, weight)
    close(ours.result(), theirs.result())


# --------------------------------------------------------------------- names and shapes


@pytest.mark.parametrize("identifier", ["accuracy", "acc", "Accuracy", "ACC"])
@pytest.mark.parametrize(
    "true, pred",
    [((8,), (8, 1)), ((8, 1), (8, 1)), ((8, 3), (8, 3)), ((8,), (8, 3)), ((8, 1), (8, 3))]
    + [((8, 5), (8, 5, 3)), ((8, 5, 3), (8, 5, 3)), ((8, 5, 1), (8, 5, 3)), ((8, 5), (8, 5, 1))],
)
def test_accuracy_by_shape(identifier, true, pred):
    theirs = compile_utils.get_metric(identifier, torch.zeros(true), torch.zeros(pred))
    ours = metrics.choose(identifier, true, pred)
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.name == theirs.name


@pytest.mark.parametrize("name", ["mse", "MAE", "mean_squared_error", "MeanSquaredError", "bce"])
def test_names_of_strings(name):
    theirs = compile_utils.get_metric(name, torch.zeros(8, 1), torch.zeros(8, 1))
    ours = metrics.as_metric(name)
    assert (type(ours).__name__, ours.name) == (type(theirs).__name__, theirs.name)


def test_names_of_functions_and_objects():
    def myRecall_2(y_true, y_pred):
        return y_pred.mean()

    class Callable:
        def __call__(self, y_true, y_pred):
            return y_pred.mean()

    zeros = torch.zeros(8, 1)
    for thing in (myRecall_2, lambda t, p: p.mean(), Callable()):
        assert metrics.as_metric(thing).name == compile_utils.get_metric(thing, zeros, zeros).name
    theirs = compile_utils.get_metric(keras.metrics.binary_accuracy, zeros, zeros)
    assert metrics.as_metric(metrics.binary_accuracy).name == theirs.name
    theirs = compile_utils.get_metric(keras.metrics.BinaryAccuracy, zeros, zeros)
    assert metrics.as_metric(metrics.BinaryAccuracy).name == theirs.name
    assert metrics.as_metric(metrics.BinaryAccuracy(name="b")).name == "b"


KNOWN = {*METRICS, "Mean", "Sum", "MeanMetricWrapper"}
ALL_NAMES = keras.src.metrics.ALL_OBJECTS_DICT


@pytest.mark.parametrize("name", sorted(n for n, cls in ALL_NAMES.items() if cls.__name__ in KNOWN))
def test_every_name_means_the_same(name):
    if name in ("MeanMetricWrapper", "mean_metric_wrapper"):
        with pytest.raises(TypeError):
            metrics.get(name)
    else:
        assert type(metrics.get(name)).__name__ == ALL_NAMES[name].__name__


# ----------------------------------------------------------------------------- configs


@pytest.mark.parametrize("name", [*METRICS, "Mean", "Sum"])
def test_configs(name):
    ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    assert ours.get_config() == theirs.get_config()
    assert metrics.serialize(ours) == keras.metrics.serialize(theirs)
    assert repr(ours) == repr(theirs)
    again = metrics.deserialize(keras.metrics.serialize(theirs))
    assert type(again) is type(ours) and again.get_config() == ours.get_config()


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("BinaryAccuracy", {"threshold": 0.3, "name": "b"}),
        ("TopKCategoricalAccuracy", {"k": 2, "dtype": "float64"}),
        ("SparseTopKCategoricalAccuracy", {"k": 2, "from_sorted_ids": True}),
        ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}),
        ("CategoricalCrossentropy", {"from_logits": True, "axis": 1}),
        ("SparseCategoricalCrossentropy", {"ignore_class": 1, "axis": 1}),
    ],
)
def test_configs_with_arguments(name, arguments):
    ours, theirs = getattr(metrics, name)(**arguments), getattr(keras.metrics, name)(**arguments)
    assert metrics.serialize(ours) == keras.metrics.serialize(theirs)
    loaded = keras.metrics.deserialize(metrics.serialize(ours))
    assert loaded.get_config() == ours.get_config()


def test_wrapper_config():
    theirs = keras.metrics.MeanMetricWrapper(keras.losses.huber, name="h", dtype=None, delta=2.0)
    ours = metrics.MeanMetricWrapper(metrics.huber, name="h", delta=2.0)
    assert ours.get_config() == theirs.get_config()
    ours = metrics.MeanMetricWrapper(metrics.binary_accuracy, name="b", threshold=0.3)
    again = metrics.MeanMetricWrapper.from_config(ours.get_config())
    assert again.fn is metrics.binary_accuracy.per_sample and again.kwargs == {"threshold": 0.3}


# -------------------------------------------------------------------- a user's own metric


def test_a_users_subclass():
    def make(base, backend_sum):
        class Hits(base):
            def __init__(self, name="hits", **kwargs):
                super().__init__(name=name, **kwargs)
                self.total = self.add_weight(name="total", initializer="zeros")
                self.seen = self.add_weight(name="seen", shape=(2,), initializer="ones")

            def update_state(self, y_true, y_pred, sample_weight=None):
                self.total.assign_add(backend_sum(y_true * y_pred))
                self.seen.assign(self.seen + 2)

            def result(self):
                return self.total / self.seen[0]

        return Hits()

    ours, theirs = make(metrics.Metric, torch.sum), make(keras.metrics.Metric, keras.ops.sum)
    same(ours, theirs, batch("numbers", (4, 3)), batch("numbers", (4, 3), 1))
    ours.reset_state()
    theirs.reset_state()
    same(ours, theirs, batch("numbers", (4, 3), 2))
