"""The Metric base: state, subclasses, devices, deferring, how bad input fails."""

import copy
import pickle

import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import eras, losses, metrics

BUILT_IN = [
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "SparseCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "MeanSquaredError",
    "RootMeanSquaredError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError",
    "CosineSimilarity",
    "LogCoshError",
    "CategoricalHinge",
    "KLDivergence",
    "Poisson",
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
]


class Largest(metrics.Metric):
    def __init__(self, name="largest", **kwargs):
        super().__init__(name=name, **kwargs)
        self.top = self.add_weight(name="top", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.top.assign(torch.maximum(self.top.value, y_pred.max()))

    def result(self):
        return self.top


def test_mean_by_hand():
    mean = metrics.Mean()
    assert mean.result().item() == 0.0
    mean.update_state([1.0, 3.0])
    mean.update_state([5.0], sample_weight=[2.0])
    assert mean.result().item() == 14.0 / 4
    assert (mean.total.numpy(), mean.count.numpy()) == (14.0, 4.0)
    mean.reset_state()
    assert mean.result().item() == 0.0


def test_call_updates_and_returns():
    accuracy = metrics.BinaryAccuracy()
    assert accuracy([[1], [0]], [[0.9], [0.8]]).item() == 0.5
    assert accuracy([[1], [1]], [[0.9], [0.8]]).item() == 0.75


def test_result_is_no_view_of_the_state():
    total = metrics.Sum()
    first = total(torch.ones(2))
    total.update_state(torch.ones(2))
    assert first.item() == 2.0


@pytest.mark.parametrize("name", ["reset_state", "reset_states"])
def test_both_names_of_reset(name):
    metric = Largest()
    metric.update_state(None, torch.tensor([3.0]))
    assert metric.result().numpy() == 3.0
    getattr(metric, name)()
    assert metric.result().numpy() == 0.0


def test_a_subclass_may_write_the_old_reset():
    class Old(Largest):
        def reset_states(self):
            self.top.assign(-1.0)

    metric = Old()
    metric.reset_state()
    assert metric.result().numpy() == -1.0


def test_variables_of_a_subclass():
    class Several(metrics.Metric):
        def __init__(self):
            super().__init__()
            self.a = self.add_variable((2,), "ones", dtype="int32", name="a")
            self.b = self.add_weight("b", initializer=lambda shape, dtype=None: torch.tensor(4.0))
            self.mean = metrics.Mean()
            self.more = [metrics.Sum(name="inner")]

    metric = Several()
    assert metric.name.startswith("several")
    paths = [f"{metric.name}/a", f"{metric.name}/b", "mean/total", "mean/count", "inner/total"]
    assert [v.path for v in metric.variables] == paths
    assert metric.a.dtype == "int32" and metric.a.shape == (2,)
    assert metric.b.numpy() == 4.0
    metric.a.assign_add([1, 2])
    metric.a.assign_sub(np.array([0, 1]))
    metric.mean.update_state([2.0])
    assert metric.a.numpy().tolist() == [2, 2]
    metric.reset_state()
    assert [float(v.value.sum()) for v in metric.variables] == [0.0] * 5


def test_two_subclasses_of_one_class_have_two_names():
    class Twin(metrics.Metric):
        pass

    assert Twin().name != Twin().name


def test_updates_hold_no_graph():
    y_pred = torch.rand(4, 1, requires_grad=True)
    for metric in (metrics.MeanSquaredError(), Largest(), metrics.Mean()):
        metric.update_state(*([y_pred] if type(metric) is metrics.Mean else [y_pred, y_pred]))
        result = metric.result()
        assert not getattr(result, "value", result).requires_grad


def test_merge_state():
    parts = [metrics.Mean() for _ in range(3)]
    for number, part in enumerate(parts):
        part.update_state([float(number)] * (number + 1))
    parts[0].merge_state(parts[1:])
    assert parts[0].result().item() == pytest.approx(8 / 6)
    with pytest.raises(ValueError, match="mean has 2 variables .* sum, which has 1"):
        parts[0].merge_state([metrics.Sum()])


def test_copies_have_their_own_state():
    metric = Largest()
    metric.update_state(None, torch.tensor([3.0]))
    twins = [copy.deepcopy(metric)]
    mean = metrics.BinaryAccuracy()
    mean.update_state([[1.0]], [[0.9]])
    twins_of_mean = [copy.deepcopy(mean), pickle.loads(pickle.dumps(mean))]
    metric.reset_state()
    mean.reset_state()
    assert [t.result().numpy() for t in twins] == [3.0]
    assert [t.result().item() for t in twins_of_mean] == [1.0, 1.0]


def test_inference_mode_leaves_a_state_that_can_be_updated():
    mean = metrics.Mean()
    with torch.inference_mode():
        mean.update_state(torch.ones(2))
    mean.update_state(torch.zeros(2))
    assert mean.result().item() == 0.5


@pytest.mark.parametrize("name", BUILT_IN)
def test_one_update_of_all_batches_gives_the_same_state(name):
    metric, deferred = getattr(metrics, name)(), getattr(metrics, name)()
    assert metric.deferrable
    is_sparse = name.startswith("Sparse")
    y_true = torch.randint(0, 6, (23,)) if is_sparse else torch.eye(6)[torch.randint(0, 6, (23,))]
    y_pred, weight = torch.rand(23, 6), torch.rand(23)
    for part in (slice(0, 10), slice(10, 20), slice(20, 23)):
        metric.update_state(y_true[part], y_pred[part], weight[part])
    deferred.update_state(y_true, y_pred, weight)
    for one, other in zip(metric.variables, deferred.variables):
        torch.testing.assert_close(one.value, other.value)


def test_what_cannot_be_deferred():
    def batch_mean(y_true, y_pred):
        return y_pred.mean()

    class Mine(metrics.BinaryAccuracy):
        pass

    assert not metrics.MeanMetricWrapper(batch_mean).deferrable
    assert metrics.MeanMetricWrapper(losses.mean_squared_error).deferrable
    assert not Largest().deferrable and not Mine().deferrable
    assert not metrics.CosineSimilarity(axis=0).deferrable
    assert not metrics.Hinge().deferrable  # asks whether the whole batch is 0 and 1


@pytest.mark.parametrize("era, expected", [("1", 0.25), ("2", 0.25), ("2.3", 0.5), ("3", 0.5)])
def test_one_number_a_batch_was_once_weighted_by_length(era, expected):
    with eras.using(era):
        metric = metrics.MeanMetricWrapper(lambda y_true, y_pred: y_pred.mean())
        metric.update_state(torch.zeros(1), torch.ones(1))
        metric.update_state(torch.zeros(3), torch.zeros(3))
    assert metric.result().item() == expected


def test_state_keeps_its_dtype():
    mean = metrics.Mean(dtype="float64")
    mean.update_state(torch.ones(3))
    assert mean.dtype == "float64" and mean.result().dtype is torch.float64


def test_top_k_of_fewer_classes_counts_all():
    assert metrics.TopKCategoricalAccuracy(k=5)(torch.eye(3), torch.rand(3, 3)).item() == 1.0


def test_add_weight_before_super():
    class Hasty(metrics.Metric):
        def __init__(self):
            self.total = self.add_weight(name="total", initializer="zeros")

    with pytest.raises(RuntimeError, match=r"Hasty: call super\(\).__init__\(\) before"):
        Hasty()


def test_methods_that_must_be_written():
    class Empty(metrics.Metric):
        pass

    with pytest.raises(NotImplementedError, match="Empty must implement update_state"):
        Empty().update_state(1, 2)
    with pytest.raises(NotImplementedError, match="Empty must implement result"):
        Empty().result()


def test_bad_arguments():
    with pytest.raises(ValueError, match="`aggregation` must be one of .*received 'max'"):
        metrics.Metric().add_variable((), "zeros", aggregation="max")
    with pytest.raises(ValueError, match="BinaryAccuracy.*'treshold'.*'threshold'"):
        metrics.BinaryAccuracy(treshold=0.3)
    with pytest.raises(ValueError, match=r"`sample_weight` of shape \(3,\) does not fit"):
        metrics.Mean().update_state(torch.ones(2), torch.ones(3))


def test_config_of_a_users_metric():
    class Above(metrics.Metric):
        def __init__(self, limit, name="above"):
            super().__init__(name=name)
            self.limit = limit

    again = Above.from_config(Above(3, name="n").get_config())
    assert (again.limit, again.name) == (3, "n")


@pytest.mark.cuda
def test_state_moves_to_the_inputs():
    metric = metrics.BinaryAccuracy()
    metric.update_state(torch.ones(2, 1), torch.ones(2, 1))
    metric.update_state(torch.ones(2, 1), torch.zeros(2, 1, device="cuda"))
    assert metric.total.device.type == "cuda" and metric.result().item() == 0.5


def test_state_follows_a_device():
    metric = metrics.Mean()
    metric.follow(torch.device("meta"))
    assert [variable.device.type for variable in metric.variables] == ["meta", "meta"]


def test_variables_that_are_attributes_are_state():
    mean, held = metrics.Mean(), torchkeras.Variable(2.0)
    mean.more = {"a": [held], "again": held, "total": mean.total}
    assert [variable.name for variable in mean.variables[:2]] == ["total", "count"]
    assert len(mean.variables) == 3 and mean.variables[2] is held and mean.weights[2] is held
    mean.reset_state()
    assert held.value == 0
