"""Metrics of decisions, areas and classes: state on the device, shapes, errors, eras."""

import pytest
import torch

import torchkeras
from torchkeras import eras, layers, losses, metrics

Y_TRUE, Y_PRED = torch.tensor([0.0, 1, 0, 1]), torch.tensor([0.1, 0.9, 0.6, 0.4])
MADE = [
    metrics.TruePositives(thresholds=[0.3, 0.1, 0.7]),
    metrics.Precision(),
    metrics.Recall(thresholds=[0.2, 0.4, 0.9]),
    metrics.PrecisionAtRecall(0.5),
    metrics.AUC(),
    metrics.AUC(curve="PR", thresholds=[0.3, 0.35]),
    metrics.AUC(multi_label=True, label_weights=[1.0, 2.0, 3.0]),
    metrics.AUC(curve="PRGAIN", from_logits=True),
    metrics.FBetaScore(average="weighted"),
    metrics.F1Score(threshold=0.5),
    metrics.BinaryIoU(),
    metrics.MeanIoU(3, ignore_class=0),
    metrics.OneHotIoU(3, [1]),
    metrics.PearsonCorrelation(),
    metrics.ConcordanceCorrelation(),
    metrics.MeanTensor(),
]


@pytest.mark.parametrize("metric", MADE, ids=lambda metric: type(metric).__name__)
def test_updates_and_results_read_nothing_back(metric):
    # A tensor on torch's meta device has no numbers: whoever asks for one fails.
    fresh = type(metric).from_config(metric.get_config())
    y_true, y_pred = torch.empty(6, 3, device="meta"), torch.empty(6, 3, device="meta")
    weight = torch.empty(6, dtype=torch.int32, device="meta")
    if isinstance(fresh, metrics.MeanTensor):
        fresh.update_state(y_pred, weight)
    else:
        if type(fresh) in (metrics.BinaryIoU, metrics.MeanIoU):
            weight = None
        fresh.update_state(y_true, y_pred, weight)
    assert fresh.result().is_meta and all(v.value.is_meta for v in fresh.variables)


@pytest.mark.parametrize("metric", MADE[:-1], ids=lambda metric: type(metric).__name__)
def test_one_update_of_all_batches_gives_the_same_state(metric):
    assert metric.deferrable
    one, other = (type(metric).from_config(metric.get_config()) for _ in range(2))
    y_true, y_pred = torch.eye(3)[torch.randint(0, 3, (23,))], torch.rand(23, 3)
    for part in (slice(0, 10), slice(10, 20), slice(20, 23)):
        one.update_state(y_true[part], y_pred[part])
    other.update_state(y_true, y_pred)
    for mine, theirs in zip(one.variables, other.variables, strict=True):
        torch.testing.assert_close(mine.value, theirs.value)
    other.reset_state()
    assert not any(variable.value.any() for variable in other.variables)


def test_counts():
    counts = [
        getattr(metrics, name)(thresholds=[0.8, 0.5])
        for name in ("TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives")
    ]
    for metric in counts:
        metric.update_state(Y_TRUE, Y_PRED, [1, 2, 3, 4])
    assert [metric.result().tolist() for metric in counts] == [[2, 2], [0, 3], [4, 1], [4, 4]]
    assert counts[0].thresholds == [0.8, 0.5] and counts[0].get_config()["thresholds"] == [0.8, 0.5]
    assert metrics.Precision().thresholds == [0.5]
    assert metrics.Precision().get_config()["thresholds"] is None


def test_weights_of_samples_stand_for_all_their_predictions():
    y_true, y_pred = torch.ones(2, 3, 4), torch.ones(2, 3, 4)
    metric = metrics.TruePositives()
    metric.update_state(y_true, y_pred, torch.tensor([1.0, 10.0]))
    metric.update_state(y_true, y_pred, torch.ones(2, 3))
    metric.update_state(y_true, y_pred, 2.0)
    assert metric.result() == 12 + 120 + 24 + 48


def test_a_users_metric_keeps_its_own_config():
    class Mine(metrics.Precision):
        def __init__(self, level):
            super().__init__(thresholds=level)

    class Area(metrics.AUC):
        def __init__(self, points):
            super().__init__(num_thresholds=points, curve="PR")

    assert Mine(0.3).get_config() == {"level": 0.3}
    assert Area(5).get_config() == {"points": 5} and Area(5).thresholds[1:-1] == [0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: metrics.Precision(thresholds=[0.5, 1.5]), r"\[0, 1\].*1.5"),
        (lambda: metrics.AUC(curve="roc curve"), "'ROC', 'PR', 'PRGAIN'"),
        (lambda: metrics.AUC(summation_method="mean"), "'interpolation'"),
        (lambda: metrics.AUC(num_thresholds=1), "num_thresholds"),
        (lambda: metrics.AUC(thresholds=[2.0]), r"\[0, 1\]"),
        (lambda: metrics.AUC(num_labels=2), "multi_label"),
        (lambda: metrics.PrecisionAtRecall(2), "`recall` must be in the range"),
        (lambda: metrics.SensitivityAtSpecificity(0.5, num_thresholds=0), "num_thresholds"),
        (lambda: metrics.FBetaScore(average="mean"), "average"),
        (lambda: metrics.FBetaScore(beta=1), "float"),
        (lambda: metrics.F1Score(threshold=1.5), "threshold"),
        (lambda: metrics.IoU(2, [2]), "out of range"),
        (lambda: metrics.R2Score("mean"), "class_aggregation"),
        (lambda: metrics.R2Score(num_regressors=-1), "num_regressors"),
        (lambda: metrics.Precision()(Y_TRUE, torch.rand(4, 3)), r"one shape.*\(4,\).*\(4, 3\)"),
        (lambda: metrics.Precision()(Y_TRUE, Y_PRED, torch.ones(3)), "sample_weight.*(3,)"),
        (lambda: metrics.Precision(class_id=1)(Y_TRUE, Y_PRED), "class_id"),
        (lambda: metrics.AUC(multi_label=True)(Y_TRUE, Y_PRED), "labels"),
        (lambda: metrics.F1Score()(Y_TRUE, Y_PRED), "2D"),
        (lambda: metrics.R2Score()(Y_TRUE, Y_PRED), "2D"),
        (lambda: metrics.MeanTensor(shape=(3,))(Y_PRED), "one shape"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_float_weights_of_integer_counts_warn():
    with pytest.warns(UserWarning, match="casting"):
        metrics.MeanIoU(2).update_state([0, 1], [0, 1], torch.tensor([0.5, 1.5]))
    with eras.using("tf2"):
        metric = metrics.MeanIoU(2)
        metric.update_state([0, 1], [0, 0], torch.tensor([0.5, 1.5]))
    assert metric.dtype == "float32"
    torch.testing.assert_close(metric.result(), torch.tensor(0.125))


@pytest.mark.parametrize("era, expected", [("2.3", 0.5), ("3", 1.0)])
def test_at_a_value_the_nearest_threshold_was_taken(era, expected):
    metric = metrics.SensitivityAtSpecificity(0.4, num_thresholds=3)
    metric.update_state([0, 0, 1, 1], [0.3, 0.7, 0.6, 0.4])
    with eras.using(era):
        metric.value = 0.4
        found = metric.result()
    # Specificities 0, 1/2 and 1 at the thresholds; sensitivities 1, 1/2 and 0.
    assert found == 0.5
    metric.value = 0.2
    with eras.using(era):
        assert metric.result() == (1.0 if era == "2.3" else 0.5)


def test_mean_tensor():
    mean = metrics.MeanTensor()
    mean.update_state([[1.0, 2], [3, 4]])
    mean.update_state([[3.0, 2], [3, 0]], sample_weight=[1, 3])
    assert mean.result().tolist() == [[2, 2], [3, 1]] and mean.total.shape == (2, 2)
    with pytest.raises(ValueError, match="no result"):
        metrics.MeanTensor().result()
    assert metrics.MeanTensor(shape=(2,)).result().tolist() == [0, 0]


def test_mean_relative_error():
    metric = metrics.MeanRelativeError(normalizer=[1, 3, 2, 0])
    metric.update_state([1, 3, 2, 3], [2, 4, 6, 8])
    torch.testing.assert_close(metric.result(), torch.tensor((1 + 1 / 3 + 2) / 4))
    again = metrics.deserialize(metrics.serialize(metric))
    assert again.normalizer.tolist() == [1, 3, 2, 0] and not metric.deferrable


def test_clones_have_a_state_of_their_own():
    metric = metrics.Precision(thresholds=0.3, name="p")
    metric.update_state(Y_TRUE, Y_PRED)
    clone = metrics.clone_metric(metric)
    assert clone.get_config() == metric.get_config() and clone.result() == 0 != metric.result()
    assert metrics.clone_metrics({"a": metrics.hinge}) == {"a": metrics.hinge}
    assert metrics.clone_metrics(None) is None and len(metrics.clone_metrics([metric])) == 1


def test_scores_adjusted_for_too_many_inputs_stay_as_they_are():
    plain, adjusted = metrics.R2Score(), metrics.R2Score(num_regressors=4)
    for metric in (plain, adjusted):
        metric.update_state([[1.0], [2], [3]], [[1.0], [2], [4]])
    with pytest.warns(UserWarning, match="More independent predictors"):
        assert adjusted.result() == plain.result()


def test_a_captured_fit_reports_what_an_eager_one_does():
    x, y = torch.rand(50, 4), torch.randint(0, 2, (50, 1)).float()
    weight = torch.rand(50)
    wanted = ["AUC", "Precision", metrics.Recall(thresholds=0.4), metrics.BinaryIoU()]
    histories = []
    for is_eager in (False, True):
        torchkeras.utils.set_random_seed(1)
        model = torchkeras.Sequential([layers.Input((4,)), layers.Dense(1, activation="sigmoid")])
        given = [metrics.clone_metric(one) for one in wanted]
        model.compile("sgd", "bce", metrics=given, weighted_metrics=["AUC"], run_eagerly=is_eager)
        fitted = model.fit(x, y, epochs=2, batch_size=10, verbose=0, sample_weight=weight)
        histories.append(fitted.history)
        assert str(model.step_report()).startswith("train: " + ("eager" if is_eager else "capt"))
    assert histories[0].keys() == histories[1].keys() and len(histories[0]) == 6
    for name, values in histories[0].items():
        assert values == pytest.approx(histories[1][name], abs=1e-5), name


@pytest.mark.parametrize("loss", ["circle", "dice", "tversky", "ctc"])
def test_losses_of_other_targets_are_taken(loss):
    given, units = (torch.rand(20, 4), 3) if loss != "ctc" else (torch.rand(20, 6, 4), 5)
    y = {"circle": torch.randint(0, 3, (20,)), "ctc": torch.randint(1, 5, (20, 2))}
    model = torchkeras.Sequential([layers.Input(given.shape[1:]), layers.Dense(units)])
    model.compile("sgd", loss)
    history = model.fit(given, y.get(loss, torch.rand(20, 3)), epochs=2, verbose=0).history["loss"]
    assert len(history) == 2 and all(value == value for value in history)
    assert isinstance(losses.get(loss), type(losses.circle))
