"""keras.ops.nn: what it computes by itself, what it refuses, what a recorded step sees of it."""

import warnings

import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import activations, config, losses, ops


def f(*shape, seed=0, low=-2.0, high=2.0):
    return torch.tensor(np.random.default_rng(seed).uniform(low, high, shape).astype("float32"))


# ------------------------------------------------------------------------------------ sparsemax


def _nearest_probabilities(x):
    """Find tau by halving an interval; one row."""
    low, high = x.min() - 1, x.max()
    for _ in range(80):
        tau = (low + high) / 2
        low, high = (tau, high) if np.maximum(x - tau, 0).sum() > 1 else (low, tau)
    return np.maximum(x - tau, 0)


def test_sparsemax_is_the_nearest_point_of_the_simplex():
    x = f(6, 9).numpy().astype("float64")
    expected = np.stack([_nearest_probabilities(row) for row in x])
    np.testing.assert_allclose(ops.sparsemax(x), expected, atol=1e-9)
    np.testing.assert_allclose(ops.sparsemax(x.T, axis=0), expected.T, atol=1e-9)
    np.testing.assert_allclose(ops.sparsemax(x.T[None], axis=-2)[0], expected.T, atol=1e-9)


def test_sparsemax_keeps_dtype_and_takes_integers():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        found = ops.sparsemax(torch.tensor([1.0, 2.0, 2.0], dtype=dtype))
        assert found.dtype is dtype and found.tolist() == [0.0, 0.5, 0.5]
    assert ops.sparsemax([1, 2, 2]).tolist() == [0.0, 0.5, 0.5]
    assert ops.sparsemax(torch.zeros(0, 3)).shape == (0, 3)
    assert ops.sparsemax(torch.tensor([1.0, torch.nan])).isnan().all()


def test_gradient_of_sparsemax_sums_to_nothing():
    """Moving all entries alike moves no probability; what is 0 has no gradient."""
    x = f(5).requires_grad_()
    found = ops.sparsemax(x)
    found[found.argmax()].backward()
    assert x.grad.sum().item() == pytest.approx(0, abs=1e-6)
    assert (x.grad[found == 0] == 0).all()


# ------------------------------------------------------------------------------------- softmax


def test_softmax_over_one_entry_warns():
    with pytest.warns(UserWarning, match="axis -1, of size 1") as seen:
        ops.softmax(f(3, 1))
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ops.softmax(torchkeras.KerasTensor((None, 3)))
        ops.softmax(f(1, 3))
        ops.softmax(f(3, 1), axis=None)


def test_axes_that_are_not_there_are_refused():
    for name in ("softmax", "log_softmax"):
        with pytest.raises(ValueError, match=rf"ops.{name}"):
            getattr(ops, name)(f(2, 3), axis=2)
        with pytest.raises(ValueError, match=rf"ops.{name}: axis 2 is out of range"):
            getattr(ops, name)(f(2, 3), axis=(0, 2))
        with pytest.raises(ValueError, match="names a dimension twice"):
            getattr(ops, name)(f(2, 3), axis=(0, -2))
    for name in ("layer_normalization", "rms_normalization", "moments"):
        args = (f(2, 3), 5) if name == "moments" else (f(2, 3), None)
        kwargs = {} if name == "moments" else {"axis": 5}
        with pytest.raises(ValueError, match=f"ops.{name}"):
            getattr(ops, name)(*args, **kwargs)
    for name in ("sparsemax", "normalize", "glu"):
        with pytest.raises(ValueError, match=f"ops.{name} failed on float32 of shape"):
            getattr(ops, name)(f(2, 4), axis=3)
        with pytest.raises(ValueError, match="cannot be called"):
            getattr(ops, name)(torchkeras.KerasTensor((None, 4)), axis=3)


# -------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "call,text",
    [
        (lambda: ops.binary_crossentropy(f(3), f(4)), r"one shape; received \(3,\) and \(4,\)"),
        (lambda: ops.binary_crossentropy(f(3, 1), f(3, 4)), "of one shape"),
        (lambda: ops.categorical_crossentropy(f(3), f(3, 4)), "of one shape"),
        (lambda: ops.categorical_crossentropy(f(), f()), "received a scalar"),
        (lambda: ops.sparse_categorical_crossentropy([1], f()), "received a scalar"),
        (
            lambda: ops.sparse_categorical_crossentropy([[1, 0]], f(1, 3)),
            r"of shape \(1,\) with an `output` of shape \(1, 3\); received .* shape \(1, 2\)",
        ),
        (lambda: ops.sparse_categorical_crossentropy([3], f(1, 3)), "out of bounds"),
        (lambda: ops.psnr(f(3), f(4), 1.0), r"one shape; received \(3,\) and \(4,\)"),
        (lambda: ops.one_hot([0, 3], 3), "index 3 is out of bounds"),
        (lambda: ops.one_hot([0], 3, sparse=True), "leave sparse=True out"),
        (lambda: ops.one_hot([0], 3, axis=4), "out of range"),
        (lambda: ops.multi_hot([0], 3, sparse=True), "leave sparse=True out"),
        (lambda: ops.multi_hot([0]), "needs `num_classes`"),
        (lambda: ops.moments(f(3), [0], synchronized=True), "synchronized=True"),
        (lambda: ops.normalize(f(3), order=0), "`order` must be an integer from 1; received 0"),
        (lambda: ops.normalize(f(3), order=1.5), "received 1.5"),
        (lambda: ops.batch_normalization(f(2, 3), f(4), f(4), -1), "must match the size"),
        (lambda: ops.glu(f(3)), "must be even"),
    ],
)
def test_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_older_scaling_warns_and_keeps_the_mean():
    x = f(2, 5)
    with pytest.warns(UserWarning, match="use rms_normalization"):
        found = ops.layer_normalization(x, beta=f(5), rms_scaling=True)
    expected = x / torch.sqrt(x.var(-1, correction=0, keepdim=True) + 1e-7) + f(5)
    torch.testing.assert_close(found, expected)


# ------------------------------------------------------------------------------------- epsilon


def test_epsilon_is_that_of_the_configuration():
    x = torch.tensor([[0.0, 1.0]])
    config.set_epsilon(1e-2)
    try:
        values = ops.binary_crossentropy(1 - x, x)
        expected = -np.log(1e-2)
        assert values.flatten().tolist() == pytest.approx([expected] * 2)
        assert ops.categorical_crossentropy(1 - x, x).item() == pytest.approx(expected)
        assert ops.sparse_categorical_crossentropy([0], x).item() == pytest.approx(expected)
        assert ops.normalize(x * 1e-3).flatten().tolist() == pytest.approx([0, 0.1])
        normal = 0.5 / np.sqrt(0.25 + 1e-2)
        assert ops.layer_normalization(x)[0, 1].item() == pytest.approx(normal)
        assert ops.rms_normalization(x)[0, 1].item() == pytest.approx(1 / np.sqrt(0.5 + 1e-2))
    finally:
        config.set_epsilon(1e-7)


# ------------------------------------------------- numbers agree with losses and with activations


@pytest.mark.parametrize("from_logits", [False, True])
def test_crossentropies_are_those_of_losses(from_logits):
    low = -3.0 if from_logits else 0.0
    output, target = f(5, 4, low=low, high=1.0), f(5, 4, seed=1, low=0.0, high=1.0)
    ours = ops.binary_crossentropy(target, output, from_logits).mean(-1)
    torch.testing.assert_close(ours, losses.binary_crossentropy(target, output, from_logits))
    output = f(5, 4, low=low, high=1.0)
    ours = ops.categorical_crossentropy(target, output, from_logits)
    torch.testing.assert_close(ours, losses.categorical_crossentropy(target, output, from_logits))
    classes = target.argmax(-1)
    ours = ops.sparse_categorical_crossentropy(classes, output, from_logits)
    theirs = losses.sparse_categorical_crossentropy(classes, output, from_logits)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "name",
    "relu relu6 sigmoid sparse_sigmoid softplus softsign silu log_sigmoid leaky_relu hard_sigmoid "
    "hard_silu elu selu celu glu tanh_shrink hard_tanh hard_shrink soft_shrink squareplus "
    "sparse_plus sparsemax softmax log_softmax".split(),
)
def test_activations_are_those_of_layers(name):
    x = f(3, 8, low=-8.0, high=8.0)
    torch.testing.assert_close(getattr(ops, name)(x), getattr(activations, name)(x))


# ---------------------------------------------------------------- recorded steps, other devices


def test_nothing_is_read_on_the_host():
    """A tensor without values takes all of them."""
    x, vector = torch.ones(3, 4, device="meta"), torch.ones(4, device="meta")
    classes = torch.ones(3, dtype=torch.int64, device="meta")
    found = [
        ops.binary_crossentropy(x, x),
        ops.categorical_crossentropy(x, x),
        ops.sparse_categorical_crossentropy(classes, x),
        ops.one_hot(classes, 4),
        ops.multi_hot(classes, 4),
        *ops.moments(x, [0]),
        ops.batch_normalization(x, vector, vector, -1),
        ops.layer_normalization(x, vector, vector),
        ops.layer_normalization(x, axis=0),
        ops.rms_normalization(x, axis=0),
        ops.normalize(x),
        ops.psnr(x, x, 1.0),
        ops.polar(x, x),
        ops.sparsemax(x),
        ops.softmax(x, axis=(0, 1)),
        ops.squareplus(x),
    ]
    assert {tensor.device.type for tensor in found} == {"meta"}


def test_a_loss_of_the_users_own_is_captured():
    def loss(y_true, y_pred):
        rows = ops.one_hot(ops.squeeze(y_true, -1), 3)
        smooth = ops.layer_normalization(ops.leaky_relu(y_pred))
        return ops.categorical_crossentropy(rows, smooth, from_logits=True) + ops.mean(
            ops.binary_crossentropy(rows, ops.softmax(y_pred)), axis=-1
        )

    torchkeras.utils.set_random_seed(0)
    x, y = f(64, 5).numpy(), np.arange(64).reshape(-1, 1) % 3
    ends = []
    for eager in (True, False):
        torchkeras.utils.set_random_seed(0)
        model = torchkeras.Sequential([torchkeras.Input((5,)), torchkeras.layers.Dense(3)])
        model.compile("sgd", loss, run_eagerly=eager)
        ends.append(model.fit(x, y, epochs=3, batch_size=16, verbose=0).history["loss"])
    assert "captured" in str(model.step_report())
    np.testing.assert_allclose(ends[0], ends[1], 1e-5)
    assert ends[0][-1] < ends[0][0]


def test_one_hot_goes_through_vmap():
    found = torch.func.vmap(lambda x: ops.one_hot(x, 3))(torch.tensor([[0, 1], [2, -1]]))
    assert found.tolist() == [[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 0]]]
