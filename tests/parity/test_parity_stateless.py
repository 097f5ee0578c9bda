"""Stateless calls, updates and metrics against Keras 3.15.1."""

import keras
import numpy as np
import pytest
import torch

import torchkeras

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


def _layers(package):
    return package.Sequential(
        [
            package.Input((3,)),
            package.layers.Dense(4, "tanh", name="a", kernel_regularizer="l2"),
            package.layers.BatchNormalization(name="b"),
            package.layers.Dense(2, name="c"),
        ]
    )


def test_calls():
    theirs, ours = _layers(keras), _layers(torchkeras)
    rng = np.random.default_rng(1)
    given = [rng.normal(size=v.shape).astype("float32") for v in theirs.trainable_variables]
    fixed = [np.ones(v.shape, "float32") for v in theirs.non_trainable_variables]
    for training in (True, False):
        found = [
            model.stateless_call(given, fixed, X, training=training, return_losses=True)
            for model in (theirs, ours)
        ]
        for one, other in zip(*found):
            one, other = (part if isinstance(part, list) else [part] for part in (one, other))
            assert len(one) == len(other)
            for a, b in zip(one, other):
                np.testing.assert_allclose(
                    a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6
                )


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_updates(name):
    rng = np.random.default_rng(2)
    weights = [rng.normal(size=shape).astype("float32") for shape in ((3, 2), (2,))]
    gradients = [rng.normal(size=w.shape).astype("float32") for w in weights]
    results = []
    for package in (keras, torchkeras):
        optimizer = getattr(package.optimizers, name)(0.1)
        optimizer.build([package.Variable(w) for w in weights])
        values = [torch.tensor(w) for w in weights]
        state = [torch.tensor(np.asarray(v)) for v in optimizer.variables]
        for _ in range(3):
            values, state = optimizer.stateless_apply(
                state, [torch.tensor(g) for g in gradients], values
            )
        results.append([np.asarray(one.detach()) for one in (*values, *state)])
    assert len(results[0]) == len(results[1])
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["MeanSquaredError", "BinaryAccuracy", "RootMeanSquaredError"])
def test_metrics(name):
    rng = np.random.default_rng(3)
    batches = [(rng.integers(0, 2, (4, 1)).astype("float32"), rng.random((4, 1), "float32"))] * 2
    results = []
    for package in (keras, torchkeras):
        metric = getattr(package.metrics, name)()
        state = metric.stateless_reset_state()
        for batch in batches:
            state = metric.stateless_update_state(state, *batch)
        results.append([float(metric.stateless_result(state)), *(float(one) for one in state)])
    np.testing.assert_allclose(*results, rtol=1e-6)


def test_scope():
    results = []
    for package in (keras, torchkeras):
        variable, other = package.Variable([1.0, 2.0]), package.Variable(3.0)
        with package.StatelessScope([(variable, torch.tensor([5.0, 6.0]))]) as scope:
            total = variable + 1.0
            variable.assign(total)
            other.assign(9.0)
        values = [scope.get_current_value(one) for one in (variable, other)]
        results.append([np.asarray(one.detach()) for one in values])
        results[-1] += [np.asarray(variable), np.asarray(other)]
        assert scope.get_current_value(package.Variable(0.0)) is None
    for one, expected in zip(*results):
        np.testing.assert_array_equal(one, expected)


def test_paths_in_name_scopes():
    def paths(package):
        with package.name_scope("outer"):
            with package.name_scope("inner"):
                one = package.Variable(0.0, name="v").path
            with package.name_scope("inner", override_parent="x/y"):
                two = package.Variable(0.0, name="v").path
            layer = package.layers.Dense(1, name="d")
            layer.build((None, 2))
            model = package.Sequential(
                [package.Input((2,)), package.layers.Dense(1, name="e")], name="m"
            )
        after = package.Variable(0.0, name="v").path
        return one, two, layer.path, layer.kernel.path, model.weights[0].path, after

    assert paths(torchkeras) == paths(keras)


def test_policies_by_path():
    def facts(package):
        policies = package.dtype_policies
        made = policies.DTypePolicyMap("float32", {"a/b": policies.get("mixed_bfloat16")})
        made["enc/.*"] = "float16"
        again = policies.deserialize(policies.serialize(made))
        layer = package.layers.Dense(2, name="enc_x", dtype=again)
        layer.build((None, 3))
        names = [again[path].name for path in ("a/b", "enc/x", "enc", "z")]
        return policies.serialize(made), names, again.name, list(again), layer.compute_dtype

    assert facts(torchkeras) == facts(keras)


def test_functions_and_operations():
    def facts(package):
        class Scale(package.Operation):
            def __init__(self, factor, name=None):
                super().__init__(name=name)
                self.factor = factor

            def call(self, x):
                return x * self.factor

        x = package.KerasTensor((None, 3))
        scale = Scale(3.0, name="scale")
        function = package.Function(x, {"y": scale(x) + 1.0, "z": x})
        out = function(X)
        shapes = function.compute_output_shape((5, 3))
        return (
            np.asarray(out["y"]).tolist(),
            {key: tuple(shape) for key, shape in shapes.items()},
            scale.get_config(),
            isinstance(package.layers.Dense(1), package.Operation),
            tuple(scale.output.shape),
        )

    assert facts(torchkeras) == facts(keras)
