"""Every metric's result on random and edge data, in steps and weighted, against real Keras."""

import json

import keras
import numpy as np
import pytest
import torch

from torchkeras import metrics

RNG = np.random.default_rng(0)


def _binary(kind, shape=(40, 1)):
    """Targets 0 and 1, predictions and sample weights of one kind of data."""
    y_true = RNG.integers(0, 2, shape).astype("float32")
    y_pred = RNG.random(shape).astype("float32")
    weight = RNG.random(shape[0]).astype("float32")
    if kind == "ones":
        y_true[:] = 1
    if kind == "zeros":
        y_true[:] = y_pred[:] = 0
    if kind == "extremes":
        y_pred = (y_pred > 0.5).astype("float32")
    if kind == "on thresholds":
        y_pred = (RNG.integers(0, 200, shape) / 199).astype("float32")
    if kind == "weightless":
        weight[:] = 0
    if kind == "outside":
        y_pred = (y_pred * 6 - 3).astype("float32")
    return y_true, y_pred, weight


KINDS = ["random", "ones", "zeros", "extremes", "on thresholds", "weightless", "outside"]
DECISIONS = [
    *((name, {}) for name in ("TruePositives", "FalsePositives", "TrueNegatives")),
    ("FalseNegatives", {"thresholds": [0.9, 0.1, 0.5]}),
    ("TruePositives", {"thresholds": [0.0, 0.25, 0.5, 0.75, 1.0]}),
    *((name, {}) for name in ("Precision", "Recall")),
    ("Precision", {"thresholds": [0.7, 0.2]}),
    ("Recall", {"thresholds": 0.3}),
    ("PrecisionAtRecall", {"recall": 0.4}),
    ("RecallAtPrecision", {"precision": 0.5, "num_thresholds": 7}),
    ("SensitivityAtSpecificity", {"specificity": 0.4}),
    ("SpecificityAtSensitivity", {"sensitivity": 0.9, "num_thresholds": 1}),
    *(
        ("AUC", {"curve": curve, "summation_method": method})
        for curve in ("ROC", "PR", "PRGAIN")
        for method in ("interpolation", "majoring", "minoring")
    ),
    ("AUC", {"thresholds": [0.9, 0.2, 0.45]}),
    ("AUC", {"num_thresholds": 5, "from_logits": True}),
    ("BinaryIoU", {"threshold": 0.4}),
    ("BinaryIoU", {"target_class_ids": [1], "dtype": "float32"}),
]


def _both(name, arguments):
    return getattr(metrics, name)(**arguments), getattr(keras.metrics, name)(**arguments)


def _equal(ours, theirs, tolerance=1e-5):
    theirs = theirs.result().detach().numpy()
    np.testing.assert_allclose(ours.result().numpy(), theirs, tolerance, tolerance)


def _run(name, arguments, y_true, y_pred, weight=None, steps=3, tolerance=1e-5):
    ours, theirs = _both(name, arguments)
    for part in np.array_split(np.arange(len(y_pred)), steps):
        given = [y_true[part], y_pred[part], None if weight is None else weight[part]]
        ours.update_state(*given)
        theirs.update_state(*given)
    _equal(ours, theirs, tolerance)
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        assert one.name == other.name and one.shape == tuple(other.shape)


@pytest.mark.parametrize("name, arguments", DECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_decisions(name, arguments, kind):
    y_true, y_pred, weight = _binary(kind)
    _run(name, arguments, y_true, y_pred)
    if name != "BinaryIoU" or "dtype" in arguments:
        _run(name, arguments, y_true, y_pred, weight)


@pytest.mark.parametrize("name", ["Precision", "Recall"])
@pytest.mark.parametrize(
    "arguments", [{"top_k": 2}, {"class_id": 1}, {"top_k": 3, "class_id": 2, "thresholds": 0.4}]
)
def test_classes_and_the_largest(name, arguments):
    y_true, y_pred, weight = _binary("random", (40, 5))
    _run(name, arguments, y_true, y_pred)
    _run(name, arguments, y_true, y_pred, weight)


@pytest.mark.parametrize("curve", ["ROC", "PR", "PRGAIN"])
@pytest.mark.parametrize("method", ["interpolation", "minoring"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"multi_label": True},
        {"multi_label": True, "num_labels": 3, "label_weights": [0.2, 1.0, 2.0]},
        {"multi_label": True, "thresholds": [0.3, 0.6]},
        {"label_weights": [0.2, 1.0, 2.0]},
        {},
    ],
)
def test_labels(curve, method, arguments):
    y_true, y_pred, weight = _binary("random", (40, 3))
    arguments = arguments | {"curve": curve, "summation_method": method}
    _run("AUC", arguments, y_true, y_pred)
    if "thresholds" not in arguments:
        _run("AUC", arguments, y_true, y_pred, weight)


def test_nan_is_no_positive():
    for name, arguments in [("AUC", {}), ("Precision", {}), ("Recall", {"thresholds": [0.2, 0.9]})]:
        y_true, y_pred, _ = _binary("random")
        y_pred[3:6] = np.nan
        _run(name, arguments, y_true, y_pred)


@pytest.mark.parametrize("average", [None, "micro", "macro", "weighted"])
@pytest.mark.parametrize("threshold", [None, 0.4])
@pytest.mark.parametrize("kind", ["random", "ones", "zeros", "weightless"])
def test_f_scores(average, threshold, kind):
    y_true, y_pred, weight = _binary(kind, (40, 3))
    arguments = {"average": average, "threshold": threshold}
    _run("FBetaScore", arguments | {"beta": 2.0}, y_true, y_pred, weight)
    _run("F1Score", arguments, y_true, y_pred)


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_intersection_over_union(dtype):
    y_true, y_pred = RNG.integers(0, 4, (2, 30))
    weight = RNG.integers(0, 3, 30)
    scores, hot = RNG.random((30, 4)), np.eye(4)[y_true]
    for name, arguments, given in [
        ("MeanIoU", {}, (y_true, y_pred)),
        ("MeanIoU", {"ignore_class": 1}, (y_true, y_pred)),
        ("MeanIoU", {"sparse_y_pred": False}, (y_true, scores)),
        ("IoU", {"target_class_ids": [0, 2]}, (y_true, y_pred)),
        ("IoU", {"target_class_ids": (3,)}, (y_true % 3, y_pred % 3)),
        ("OneHotIoU", {"target_class_ids": [1]}, (hot, scores)),
        ("OneHotMeanIoU", {"sparse_y_pred": True}, (hot, y_pred)),
    ]:
        arguments = arguments | {"num_classes": 4, "dtype": dtype}
        _run(name, arguments, *given)
        _run(name, arguments, *given, weight)


NUMBERS = [
    ("R2Score", {}),
    ("R2Score", {"class_aggregation": None}),
    ("R2Score", {"class_aggregation": "variance_weighted_average", "num_regressors": 2}),
    ("PearsonCorrelation", {}),
    ("ConcordanceCorrelation", {}),
    ("PearsonCorrelation", {"axis": 0}),
    ("CosineSimilarity", {}),
    ("LogCoshError", {}),
    ("RootMeanSquaredError", {}),
    ("MeanSquaredLogarithmicError", {}),
    ("MeanAbsolutePercentageError", {}),
    ("Poisson", {}),
    ("KLDivergence", {}),
    *((name, {}) for name in ("Hinge", "SquaredHinge", "CategoricalHinge")),
]


@pytest.mark.parametrize("name, arguments", NUMBERS)
@pytest.mark.parametrize("kind", ["random", "zeros", "nan", "large"])
def test_numbers(name, arguments, kind):
    y_true, y_pred = RNG.random((2, 30, 4)).astype("float32")
    weight = RNG.random(30).astype("float32")
    if kind == "zeros":
        y_true, y_pred = y_true * 0, y_pred * 0
    if kind == "nan":
        y_pred[2, 1] = np.nan
    if kind == "large":
        y_true, y_pred = y_true * 1e6, y_pred * 1e6
    # Float32 leaves R² of large numbers five digits.
    _run(name, arguments, y_true, y_pred, tolerance=1e-4 if kind == "large" else 1e-5)
    if arguments.get("axis") != 0:
        _run(name, arguments, y_true, y_pred, weight, tolerance=1e-4 if kind == "large" else 1e-5)


SAVED = [
    *DECISIONS,
    *NUMBERS,
    (
        "Precision",
        {"top_k": 2, "class_id": 1, "thresholds": [0.5], "name": "p", "dtype": "float64"},
    ),
    ("AUC", {"multi_label": True, "num_labels": 2, "name": "area", "curve": "PR"}),
    ("FBetaScore", {"average": "macro", "beta": 0.5}),
    ("F1Score", {"threshold": 0.5}),
    ("IoU", {"num_classes": 3, "target_class_ids": [0, 1]}),
    ("MeanIoU", {"num_classes": 3, "ignore_class": 0}),
    ("OneHotIoU", {"num_classes": 3, "target_class_ids": [0, 1], "axis": 1}),
    ("OneHotMeanIoU", {"num_classes": 3, "sparse_y_pred": True}),
]


@pytest.mark.parametrize("name, arguments", SAVED)
def test_configs_pass_both_ways(name, arguments):
    if "name" not in arguments:
        arguments = arguments | {"name": "mine"}
    ours, theirs = _both(name, arguments)
    theirs_config, ours_config = theirs.get_config(), ours.get_config()
    if name == "CosineSimilarity":
        theirs_config.pop("axis", None)
    assert ours_config == theirs_config
    assert metrics.serialize(ours) == keras.metrics.serialize(theirs)
    written = json.loads(json.dumps(metrics.serialize(ours)))
    assert keras.metrics.deserialize(written).get_config() == theirs.get_config()
    assert metrics.deserialize(
        json.loads(json.dumps(keras.metrics.serialize(theirs)))
    ).get_config() == (ours.get_config())


def test_label_weights_pass_both_ways():
    ours, theirs = _both("AUC", {"multi_label": True, "label_weights": [1.0, 2.0], "name": "a"})
    again = metrics.deserialize(json.loads(json.dumps(keras.metrics.serialize(theirs))))
    assert again.label_weights.tolist() == [1.0, 2.0] == ours.get_config()["label_weights"]
    theirs = keras.metrics.deserialize(json.loads(json.dumps(metrics.serialize(ours))))
    assert np.asarray(theirs.label_weights).tolist() == [1.0, 2.0]


def test_names_mean_what_they_mean_in_keras():
    from keras.src.metrics import ALL_OBJECTS_DICT

    needs = {"num_classes": 3, "target_class_ids": [0], "thresholds": None, "value": 0.5}
    needs |= dict.fromkeys(("recall", "precision", "sensitivity", "specificity"), 0.5)
    for name, cls in ALL_OBJECTS_DICT.items():
        if cls is keras.metrics.Metric:
            continue
        found = metrics.get({"class_name": name, "config": _needed(cls, needs)})
        assert type(found).__name__ == cls.__name__, name


def _needed(cls, values):
    import inspect

    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return {
        p.name: values[p.name] for p in parameters if p.default is p.empty and p.name in values
    } | ({"fn": "mean_squared_error"} if "fn" in {p.name for p in parameters} else {})


def test_merged_states():
    ours, theirs = _both("AUC", {"num_thresholds": 20})
    parts = [_binary("random")[:2] for _ in range(3)]
    others = [_both("AUC", {"num_thresholds": 20}) for _ in parts]
    for (mine, other), given in zip(others, parts, strict=True):
        mine.update_state(*given)
        other.update_state(*given)
        theirs.update_state(*given)
    ours.merge_state([mine for mine, _ in others])
    _equal(ours, theirs)


def test_tensors_and_lists_are_taken():
    ours, theirs = _both("Precision", {})
    for given in (([0, 1, 1], [0.2, 0.7, 0.3]), ([[0], [1]], [[0.9], [0.8]])):
        ours.update_state(*given)
        ours.update_state(*(torch.tensor(part) for part in given))
        theirs.update_state(*given)
        theirs.update_state(*given)
    _equal(ours, theirs)
