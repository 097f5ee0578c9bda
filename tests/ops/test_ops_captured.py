"""keras.ops in the captured step: it holds the calls that torch's own functions leave, no more."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import torchkeras
from torchkeras import layers, ops

X = np.random.default_rng(0).normal(size=(24, 6)).astype("float32")
Y = X[:, :2] * X[:, 2:4]


class Calling(layers.Layer):
    """A weight, and a function of it and the inputs."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(6, 6), initializer="orthogonal")

    def call(self, inputs):
        return self.function(inputs, self.kernel)


def by_ops(x, kernel):
    x = ops.relu(ops.matmul(ops.add(x, 0.5), kernel))
    pairs = ops.reshape(x, (-1, 2, 3))
    shares = ops.softmax(ops.multiply(pairs, 2.0), axis=-1)
    middle = ops.mean(pairs, axis=-1, keepdims=True)
    kept = ops.where(ops.greater(pairs, middle), pairs, 0.0)
    joined = ops.concatenate([shares, ops.clip(kept, -1.0, 1.0)], axis=-1)
    joined = ops.transpose(joined, (0, 2, 1))
    return ops.sum(ops.square(ops.subtract(joined, 0.25)), axis=1)


def by_torch(x, kernel):
    x = torch.relu(torch.matmul(torch.add(x, 0.5), kernel.value))
    pairs = torch.reshape(x, (-1, 2, 3))
    shares = functional.softmax(torch.mul(pairs, 2.0), -1)
    middle = torch.mean(pairs, -1, keepdim=True)
    kept = torch.where(torch.gt(pairs, middle), pairs, 0.0)
    joined = torch.cat([shares, torch.clamp(kept, -1.0, 1.0)], -1)
    joined = torch.permute(joined, (0, 2, 1))
    return torch.sum(torch.square(torch.sub(joined, 0.25)), 1)


def trained(function, run_eagerly=False, optimizer="adam"):
    """Losses, weights and the report of a model that was trained."""
    torchkeras.utils.set_random_seed(1)
    model = torchkeras.Sequential([torchkeras.Input((6,)), Calling(function), layers.Dense(2)])
    model.compile(optimizer, "mse", run_eagerly=run_eagerly)
    losses = model.fit(X, Y, 8, 3, shuffle=False, verbose=0).history["loss"]
    return losses, model.get_weights(), model.step_report()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_ops_leave_no_more_calls_than_torchs_functions(optimizer):
    losses, weights, report = trained(by_ops, optimizer=optimizer)
    torch_losses, torch_weights, torch_report = trained(by_torch, optimizer=optimizer)
    assert report.kind == torch_report.kind == "captured"
    assert report.calls == torch_report.calls > 12
    assert losses == torch_losses
    for one, other in zip(weights, torch_weights):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(losses, trained(by_ops, True, optimizer)[0], 1e-6)


@pytest.mark.parametrize(
    "of_ops,of_torch",
    [
        (lambda x: ops.mean(ops.multiply(2, x)), lambda x: torch.mean(torch.mul(2, x))),
        (lambda x: ops.max(ops.maximum(x, 0.5)), lambda x: x.clamp(min=0.5).max()),
        (
            lambda x: ops.mean(x * ops.cast(x > 0, "float32")),
            lambda x: (x * (x > 0).float()).mean(),
        ),
        (lambda x: ops.sum(ops.where(x > 0, x, 0.1)), lambda x: torch.where(x > 0, x, 0.1).sum()),
        (lambda x: ops.mean(ops.divide(x, 3)), lambda x: torch.div(x, 3).mean()),
        (lambda x: ops.mean(ops.sqrt(ops.abs(x) + 1)), lambda x: torch.sqrt(abs(x) + 1).mean()),
        (lambda x: ops.mean(ops.power(x, 2)), lambda x: torch.pow(x, 2).mean()),
        (lambda x: ops.logsumexp(x), lambda x: torch.logsumexp(x, (0, 1))),
        (lambda x: ops.mean(ops.expand_dims(x, 1)), lambda x: x.unsqueeze(1).mean()),
        (lambda x: ops.std(x), lambda x: torch.std(x, correction=0)),
        (lambda x: ops.mean(ops.stack([x, x])), lambda x: torch.stack([x, x]).mean()),
        (lambda x: ops.norm(x), lambda x: torch.linalg.vector_norm(x)),
    ],
    ids="multiply max cast where divide sqrt power logsumexp expand std stack norm".split(),
)
def test_functions_that_take_numbers_and_axes_leave_no_more(of_ops, of_torch):
    counts = []
    for function in (of_ops, of_torch):

        def loss(y_true, y_pred, function=function):
            return function(y_true - y_pred)

        torchkeras.utils.set_random_seed(1)
        model = torchkeras.Sequential([torchkeras.Input((6,)), layers.Dense(2)])
        model.compile("sgd", loss)
        model.fit(X, Y, 8, verbose=0)
        report = model.step_report()
        counts.append((report.kind, report.calls))
    assert counts[0][0] == counts[1][0] == "captured"
    assert counts[0][1] <= counts[1][1]
