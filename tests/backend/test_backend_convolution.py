"""Convolutions, poolings, paddings, normalizations and CTC of keras.backend, against numpy."""

import itertools

import numpy as np
import pytest
import torch

from torchkeras import backend as K, config, eras
from torchkeras.graph import KerasTensor

RNG = np.random.RandomState(7)


def floats(*shape):
    return RNG.randn(*shape).astype("float32")


def windows(x, size, strides, rate=1):
    """Return (batch, *places, *size, channels) of images with the channels last."""
    axes = tuple(range(1, len(size) + 1))
    reach = [(n - 1) * rate + 1 for n in size]
    found = np.lib.stride_tricks.sliding_window_view(x, reach, axes)
    found = found[(slice(None), *(slice(None, None, s) for s in strides))]
    found = found[(..., *(slice(None, None, rate) for _ in size))]
    return np.moveaxis(found, len(size) + 1, -1)


def padded(x, size, strides, rate=1, value=0.0):
    """Pad as 'same' does."""
    widths = [(0, 0)]
    for n, k, s in zip(x.shape[1:], size, strides):
        total = max((-(-n // s) - 1) * s + (k - 1) * rate + 1 - n, 0)
        widths.append((total // 2, total - total // 2))
    return np.pad(x, [*widths, (0, 0)], constant_values=value)


def convolved(x, kernel, strides=None, rate=1, same=False):
    size = kernel.shape[:-2]
    strides = strides or (1,) * len(size)
    x = padded(x, size, strides, rate) if same else x
    rank = len(size)
    over = list(range(rank + 1))
    return np.tensordot(
        windows(x, size, strides, rate), kernel, (range(rank + 1, 2 * rank + 2), over)
    )


def by_channel(x, kernel):
    """Convolve each channel with its multiplier's kernels."""
    rank, (channels, multiplier) = kernel.ndim - 2, kernel.shape[-2:]
    parts = [
        convolved(x[..., c : c + 1], kernel[..., c : c + 1, m : m + 1], (1,) * rank)
        for c, m in itertools.product(range(channels), range(multiplier))
    ]
    return np.concatenate(parts, -1)


def pooled(x, size, strides, function, same=False):
    x = padded(x, size, strides, value=np.nan) if same else x
    rank = len(size)
    return function(windows(x, size, strides), tuple(range(rank + 1, 2 * rank + 1)))


def transposed(x, kernel, shape, strides):
    """Scatter each input element, 'valid'; later outputs stay 0."""
    y = np.zeros((len(x), *shape, kernel.shape[2]))
    for i, j in np.ndindex(*x.shape[1:3]):
        part = np.einsum("bc,hwfc->bhwf", x[:, i, j], kernel)
        at = i * strides[0], j * strides[1]
        y[:, at[0] : at[0] + part.shape[1], at[1] : at[1] + part.shape[2]] += part
    return y


def local(x, kernel, size, strides):
    seen = windows(x, size, strides)
    places = int(np.prod(seen.shape[1 : len(size) + 1]))
    y = np.einsum("bpi,pif->bpf", seen.reshape(len(x), places, -1), kernel)
    return y.reshape(*seen.shape[: len(size) + 1], -1)


def first(x):
    return np.moveaxis(x, -1, 1)


S, IMAGE, V = floats(2, 7, 3), floats(2, 6, 5, 3), floats(2, 4, 5, 3, 2)
S3, I3, V2 = floats(3, 3, 4), floats(3, 2, 3, 4), floats(2, 2, 2, 2, 3)
DEPTH, POINT = floats(3, 2, 3, 2), floats(1, 1, 6, 4)
DEPTH1, POINT1 = floats(3, 3, 2), floats(1, 6, 4)
BACK = floats(3, 2, 4, 3)  # (rows, columns, filters, channels)
LOCAL1, LOCAL2 = floats(3, 9, 4), floats(6, 18, 4)
FIRST = {"data_format": "channels_first"}
SPLIT = np.maximum(floats(3), 0.1), np.maximum(floats(3), 0.1), floats(3), floats(3)
MEAN, VAR, BETA, GAMMA = SPLIT


def normed(x, mean, var, beta=0.0, gamma=1.0):
    return (x - mean) / np.sqrt(var + 1e-3) * gamma + beta


CASES = [
    ("conv1d", [S, S3], {}, convolved(S, S3)),
    ("conv1d", [S, S3], {"strides": 2, "padding": "same"}, convolved(S, S3, (2,), same=True)),
    (
        "conv1d",
        [S, S3],
        {"padding": "causal", "dilation_rate": 2},
        convolved(np.pad(S, [(0, 0), (4, 0), (0, 0)]), S3, rate=2),
    ),
    ("conv2d", [IMAGE, I3], {}, convolved(IMAGE, I3)),
    ("conv2d", [IMAGE, I3], {"strides": (2, 1)}, convolved(IMAGE, I3, (2, 1))),
    (
        "conv2d",
        [first(IMAGE), I3],
        {"padding": "same", **FIRST},
        first(convolved(IMAGE, I3, same=True)),
    ),
    ("conv2d", [IMAGE, I3], {"dilation_rate": (2, 2)}, convolved(IMAGE, I3, rate=2)),
    ("conv3d", [V, V2], {"padding": "same"}, convolved(V, V2, same=True)),
    ("conv3d", [first(V), V2], {"strides": (1, 2, 1), **FIRST}, first(convolved(V, V2, (1, 2, 1)))),
    ("atrous_conv2d", [IMAGE, I3], {"rate": 2}, convolved(IMAGE, I3, rate=2)),
    ("depthwise_conv2d", [IMAGE, DEPTH], {}, by_channel(IMAGE, DEPTH)),
    (
        "separable_conv2d",
        [IMAGE, DEPTH, POINT],
        {},
        convolved(by_channel(IMAGE, DEPTH), POINT),
    ),
    ("separable_conv1d", [S, DEPTH1, POINT1], {}, convolved(by_channel(S, DEPTH1), POINT1)),
    (
        "conv2d_transpose",
        [IMAGE, BACK],
        {"output_shape": (2, 14, 10, 4), "strides": (2, 2)},
        transposed(IMAGE, BACK, (14, 10), (2, 2)),
    ),
    (
        "conv2d_transpose",
        [first(IMAGE), BACK],
        {"output_shape": (2, 4, 12, 9), "strides": (2, 2), "padding": "same", **FIRST},
        # Of the whole, 13 by 10, one row is cut off behind and one column before.
        first(transposed(IMAGE, BACK, (13, 10), (2, 2))[:, :12, :9]),
    ),
    (
        "deconv2d",
        [IMAGE, BACK.swapaxes(2, 3)],
        {"output_shape": (2, 8, 6, 4)},
        transposed(IMAGE, BACK, (8, 6), (1, 1)),
    ),
    ("pool2d", [IMAGE, (2, 2)], {}, pooled(IMAGE, (2, 2), (1, 1), np.max)),
    (
        "pool2d",
        [first(IMAGE), (3, 2)],
        {"strides": (2, 2), "padding": "same", "pool_mode": "avg", **FIRST},
        first(pooled(IMAGE, (3, 2), (2, 2), np.nanmean, same=True)),
    ),
    ("pool3d", [V, (2, 2, 2)], {"strides": (2, 2, 2)}, pooled(V, (2, 2, 2), (2, 2, 2), np.max)),
    ("pool3d", [V, (2, 2, 2)], {"pool_mode": "avg"}, pooled(V, (2, 2, 2), (1, 1, 1), np.mean)),
    ("local_conv1d", [S, LOCAL1, (3,), (2,)], {}, local(S, LOCAL1, (3,), (2,))),
    (
        "local_conv2d",
        [IMAGE, LOCAL2, (3, 2), (2, 2), (2, 2)],
        {},
        local(IMAGE, LOCAL2[:4], (3, 2), (2, 2)),
    ),
    ("temporal_padding", [S], {}, np.pad(S, [(0, 0), (1, 1), (0, 0)])),
    ("temporal_padding", [S, (1, 2)], {}, np.pad(S, [(0, 0), (1, 2), (0, 0)])),
    ("asymmetric_temporal_padding", [S, 0, 2], {}, np.pad(S, [(0, 0), (0, 2), (0, 0)])),
    ("spatial_2d_padding", [IMAGE], {}, np.pad(IMAGE, [(0, 0), (1, 1), (1, 1), (0, 0)])),
    (
        "spatial_2d_padding",
        [IMAGE, ((1, 2), (0, 3))],
        FIRST,
        np.pad(IMAGE, [(0, 0), (0, 0), (1, 2), (0, 3)]),
    ),
    ("spatial_2d_padding", [IMAGE, (1, 2)], {}, np.pad(IMAGE, [(0, 0), (1, 1), (2, 2), (0, 0)])),
    (
        "asymmetric_spatial_2d_padding",
        [IMAGE],
        {"top_pad": 2, "right_pad": 3},
        np.pad(IMAGE, [(0, 0), (2, 1), (1, 3), (0, 0)]),
    ),
    (
        "spatial_3d_padding",
        [V, ((1, 2), (0, 3), (1, 1))],
        {},
        np.pad(V, [(0, 0), (1, 2), (0, 3), (1, 1), (0, 0)]),
    ),
    ("resize_images", [IMAGE, 2, 3, "channels_last"], {}, IMAGE.repeat(2, 1).repeat(3, 2)),
    ("resize_images", [IMAGE, 2, 3], FIRST, IMAGE.repeat(2, 2).repeat(3, 3)),
    ("resize_volumes", [V, 2, 1, 3, "channels_last"], {}, V.repeat(2, 1).repeat(3, 3)),
    ("batch_normalization", [IMAGE, MEAN, VAR, BETA, GAMMA], {}, normed(IMAGE, *SPLIT)),
    (
        "batch_normalization",
        [first(IMAGE), MEAN, VAR, None, GAMMA],
        {"axis": 1},
        first(normed(IMAGE, MEAN, VAR, gamma=GAMMA)),
    ),
    (
        "batch_normalization",
        [S, S[:1], S[1:] ** 2, None, None],
        {"epsilon": 1e-3},
        normed(S, S[:1], S[1:] ** 2),
    ),
    ("bias_add", [IMAGE, MEAN], {}, IMAGE + MEAN),
    ("bias_add", [first(IMAGE), MEAN], FIRST, first(IMAGE + MEAN)),
    ("bias_add", [S[:, 0], MEAN], {}, S[:, 0] + MEAN),
    ("bias_add", [IMAGE, IMAGE[0]], {}, IMAGE + IMAGE[0]),
    # As in Keras 2, the numbers of a whole bias are laid out anew, channels first.
    ("bias_add", [first(IMAGE), IMAGE[0]], FIRST, first(IMAGE) + IMAGE[0].reshape(3, 6, 5)),
    ("size", [IMAGE], {}, IMAGE.size),
]
# Windows of 3 by 2 at strides of 2 have 2 * 2 places, each of which has a kernel.
CASES = [(n, [LOCAL2[:4] if a is LOCAL2 else a for a in args], k, e) for n, args, k, e in CASES]
IDS = [case[0] for case in CASES]


@pytest.mark.parametrize("kind", [torch.tensor, np.copy, K.variable], ids="t n v".split())
@pytest.mark.parametrize("name, args, kwargs, expected", CASES, ids=IDS)
def test_numbers(name, args, kwargs, expected, kind):
    given = [kind(a) if isinstance(a, np.ndarray) else a for a in args]
    found = getattr(K, name)(*given, **kwargs)
    np.testing.assert_allclose(K.get_value(found), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name, args, kwargs, expected", CASES, ids=IDS)
def test_symbolic_tensors_give_the_same(name, args, kwargs, expected):
    """Of which the batch is not known."""
    arrays = [a for a in args if isinstance(a, np.ndarray)]
    x = K.placeholder((None, *args[0].shape[1:]))
    found = getattr(K, name)(x, *args[1:], **kwargs)
    assert isinstance(found, KerasTensor)
    assert found.shape[1:] == np.shape(expected)[1:] and found.shape[:1] in ((None,), ())
    (computed,) = K.function([x], [found])(arrays[:1])
    np.testing.assert_allclose(computed, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    "call, shape",
    [
        (lambda x: K.conv2d(x, I3, padding="same"), (None, None, None, 4)),
        (lambda x: K.pool2d(x, (2, 2), (2, 2)), (None, None, None, 3)),
        (lambda x: K.spatial_2d_padding(x), (None, None, None, 3)),
        (lambda x: K.resize_images(x, 2, 2, "channels_last"), (None, None, None, 3)),
        (lambda x: K.resize_images(x, 2, 2, "tf", "bilinear"), (None, None, None, 3)),
        (lambda x: K.repeat_elements(x, 2, 1), (None, None, None, 3)),
        (lambda x: K.batch_normalization(x, MEAN, VAR, None, None), (None, None, None, 3)),
        (lambda x: K.dot(x, S3[0]), (None, None, None, 4)),
        (lambda x: K.l2_normalize(x, -1), (None, None, None, 3)),
        (lambda x: K.batch_flatten(x[:, :2, :2]), (None, 12)),
    ],
)
def test_unknown_sizes(call, shape):
    assert call(K.placeholder((None, None, None, 3))).shape == shape


def test_gradients_of_a_convolution():
    x, kernel = torch.tensor(IMAGE, requires_grad=True), K.variable(I3)
    by_x, by_kernel = K.gradients(K.sum(K.conv2d(x, kernel)), [x, kernel])
    assert by_x.shape == IMAGE.shape and by_kernel.shape == I3.shape
    # Each weight of a kernel meets what lies under it at all places.
    assert by_kernel[0, 0, 0, 0].item() == pytest.approx(IMAGE[:, :4, :4, 0].sum(), rel=1e-4)


def test_normalize_batch_in_training():
    for axes, gamma in (([0, 1, 2], GAMMA), ([0, 2], floats(6, 3)), ([0, 1, 2, 3], None)):
        mean, var = IMAGE.mean(tuple(axes)), IMAGE.var(tuple(axes))
        wide = [i for i in range(4) if i in axes]
        expected = normed(IMAGE, np.expand_dims(mean, wide), np.expand_dims(var, wide))
        if gamma is not None:
            expected = expected * np.expand_dims(gamma, wide) + 1
        beta = None if gamma is None else np.ones_like(gamma)
        found = K.normalize_batch_in_training(IMAGE, gamma, beta, axes)
        for ours, theirs in zip(found, (expected, mean, var)):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    by_place = K.normalize_batch_in_training(IMAGE, None, None, "per-activation")
    np.testing.assert_allclose(by_place[1], IMAGE.mean(0), rtol=1e-4, atol=1e-5)
    x = K.placeholder((None, 6, 5, 3))
    normalized, mean, var = K.normalize_batch_in_training(x, GAMMA, BETA, [0, 1, 2])
    assert (normalized.shape, mean.shape, var.shape) == (x.shape, (3,), (3,))


class TestImagesMadeLarger:
    line = np.array([0.0, 1.0, 3.0], "float32").reshape(1, 1, 3, 1)

    def test_bilinear(self):
        found = K.resize_images(self.line, 1, 2, "channels_last", interpolation="bilinear")
        assert found.numpy().ravel().tolist() == [0, 0.25, 0.75, 1.5, 2.5, 3]

    def test_bilinear_before_tensorflow_2(self):
        eras.set_version("2.3.1")
        found = K.resize_images(self.line, 2, 2, "channels_last", interpolation="bilinear")
        assert found.numpy().reshape(2, 6).tolist() == [[0, 0.5, 1, 2, 3, 3]] * 2


class TestKeras1:
    """Spellings and layouts of 1.2.2."""

    def test_th_kernels_begin_with_filters(self):
        kernel = I3.transpose(3, 2, 0, 1)
        found = K.conv2d(first(IMAGE), kernel, border_mode="same", dim_ordering="th")
        np.testing.assert_allclose(
            found, first(convolved(IMAGE, I3, same=True)), rtol=1e-4, atol=1e-5
        )
        back = BACK.transpose(3, 2, 0, 1).swapaxes(0, 1)
        found = K.deconv2d(first(IMAGE), back, (None, 4, 8, 6), dim_ordering="th")
        expected = first(transposed(IMAGE, BACK, (8, 6), (1, 1)))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    def test_default_layout_and_positions(self):
        eras.set_version(1)
        K.set_image_dim_ordering("th")
        kernel = I3.transpose(3, 2, 0, 1)
        hints = ((None, 3, 6, 5), kernel.shape)
        found = K.conv2d(first(IMAGE), kernel, (1, 1), "valid", "default", *hints, (2, 2))
        np.testing.assert_allclose(found, first(convolved(IMAGE, I3, rate=2)), rtol=1e-4, atol=1e-5)
        assert K.conv1d(S, S3, 2, "same", None, None).shape == (2, 4, 4)
        assert K.batch_normalization(S, MEAN, VAR, BETA, GAMMA, 1e-3).shape == S.shape
        assert K.spatial_2d_padding(first(IMAGE), (1, 2), "default").shape == (2, 3, 8, 9)
        assert K.spatial_2d_padding(IMAGE, padding=(1, 2), dim_ordering="tf").shape == (2, 8, 9, 3)
        assert K.pool2d(IMAGE, (2, 2), border_mode="same", dim_ordering="tf").shape == IMAGE.shape
        assert K.resize_images(
            X=IMAGE, height_factor=2, width_factor=2, dim_ordering="tf"
        ).shape == (
            2,
            12,
            10,
            3,
        )
        assert K.resize_volumes(V, 1, 1, 2, dim_ordering="tf").shape == (2, 4, 5, 6, 2)
        kernel = V2.transpose(4, 3, 0, 1, 2)
        assert K.conv3d(first(V), kernel, volume_shape=None).shape == (2, 3, 3, 4, 2)

    def test_kernels_of_keras_2_do_not_follow(self):
        config.set_image_data_format("channels_first")
        assert K.conv2d(first(IMAGE), I3).shape == (2, 4, 4, 4)

    @pytest.mark.parametrize(
        "call",
        [
            lambda: K.random_uniform((2,), low=3, high=4),
            lambda: K.random_normal((2,), std=0.0),
            lambda: K.expand_dims(S, dim=1),
            lambda: K.one_hot([1], nb_classes=2),
            lambda: K.batch_get_value(xs=[K.variable(1.0)]),
            lambda: K.moving_average_update(variable=K.variable(1.0), value=2.0, momentum=0.5),
            lambda: K.pattern_broadcast(S, broatcastable=[False]),
            lambda: K.function([], [K.variable(1.0)], givens={})([]),
        ],
    )
    def test_names_of_arguments(self, call):
        assert call() is not None

    def test_settings(self):
        K.set_floatx(floatx="float64")
        K.set_epsilon(e=1e-4)
        assert (K.floatx(), K.epsilon()) == ("float64", 1e-4)

    def test_old_names_are_shown(self):
        import inspect

        assert "nb_classes" in inspect.signature(K.one_hot).parameters
        assert "dim_ordering" in inspect.signature(K.conv2d).parameters

    def test_batch_dot_multiplied_matrices(self):
        x, y = floats(2, 3, 4, 5), floats(2, 3, 6, 5)
        assert K.batch_dot(x, y, axes=(3, 3)).shape == (2, 3, 4, 3, 6)
        eras.set_version("2.2.4")
        found = K.batch_dot(x, y, axes=(3, 3))
        np.testing.assert_allclose(found, x @ y.swapaxes(2, 3), rtol=1e-4, atol=1e-5)
        found = K.batch_dot(x[0, 0], y[0, 0, :4], axes=0)
        expected = (x[0, 0] * y[0, 0, :4]).sum(0)[:, None]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: K.conv2d(IMAGE, I3, data_format="channels_middle"), "data_format must be"),
        (lambda: K.pool2d(IMAGE, (2, 2), padding="twice"), "padding must be"),
        (lambda: K.pool2d(IMAGE, (2, 2), pool_mode="median"), "'max' or 'avg'; received 'median'"),
        (lambda: K.conv2d(IMAGE, floats(3, 3, 2, 4)), "channels"),
        (lambda: K.conv2d_transpose(IMAGE, BACK, (2, 30, 30, 4), border=1), "'border'"),
        (lambda: K.conv2d_transpose(IMAGE, BACK, (2, 3, 3, 4)), "output_padding"),
        (lambda: K.resize_images(IMAGE, 2, 2, "tf", "cubic"), "received 'cubic'"),
        (lambda: K.bias_add(IMAGE, floats(5, 3)), "does not fit"),
        (lambda: K.local_conv1d(S, LOCAL1[:2], (3,), (2,)), "local_conv1d failed"),
        (lambda: K.spatial_2d_padding(IMAGE, ((1, 1),)), "of 4 axes"),
        (lambda: K.normalize_data_format("th"), "channels_first"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ------------------------------------------------------------------------------------------- CTC


def likelihood(probabilities, labels):
    """Add up all ways of writing the labels, the last class being none."""
    steps, classes = probabilities.shape
    total = 0.0
    for path in itertools.product(range(classes), repeat=steps):
        merged = [label for label, _ in itertools.groupby(path)]
        if [label for label in merged if label < classes - 1] == list(labels):
            total += np.prod(probabilities[range(steps), path])
    return total


P = np.exp(floats(2, 4, 3))
P /= P.sum(-1, keepdims=True)
LABELS, COUNTS, STEPS = np.array([[0, 1], [1, -1]]), np.array([[2], [1]]), np.array([[4], [3]])


class TestCTC:
    def test_batch_cost(self):
        expected = [
            -np.log(likelihood(P[0], [0, 1])),
            -np.log(likelihood(P[1, :3], [1])),
        ]
        for kind in (K.variable, np.copy, torch.tensor):
            found = K.ctc_batch_cost(kind(LABELS), kind(P), kind(STEPS), kind(COUNTS))
            assert found.shape == (2, 1)
            np.testing.assert_allclose(K.get_value(found)[:, 0], expected, rtol=1e-4)

    def test_batch_cost_in_a_function(self):
        shapes = [(None, 2), (None, None, 3), (None, 1), (None, 1)]
        inputs = [K.placeholder(shape) for shape in shapes]
        cost = K.ctc_batch_cost(*inputs)
        assert cost.shape == (None, 1)
        found = K.function(inputs, [cost])([LABELS, P, STEPS, COUNTS])[0]
        np.testing.assert_allclose(found[0, 0], -np.log(likelihood(P[0], [0, 1])), rtol=1e-4)

    def test_batch_cost_has_a_gradient(self):
        p = torch.tensor(P, requires_grad=True)
        K.sum(K.ctc_batch_cost(LABELS, p, STEPS, COUNTS)).backward()
        assert torch.isfinite(p.grad).all() and (p.grad[1, 3] == 0).all() and p.grad[0, 3].any()

    def test_greedy(self):
        one = np.eye(3)[[[0, 0, 2, 0], [1, 2, 2, 0]]] * 0.8 + 0.1
        labels, score = K.ctc_decode(one, np.array([4, 3]))
        assert labels[0].tolist() == [[0, 0, -1, -1], [1, -1, -1, -1]]
        np.testing.assert_allclose(score[:, 0], -np.log(0.9) * np.array([4, 3]), rtol=1e-4)
        eras.set_version("2.3.1")
        assert K.ctc_decode(one, np.array([4, 3]))[0][0].tolist() == [[0, 0], [1, -1]]

    def test_beam_finds_the_likeliest(self):
        labels, score = K.ctc_decode(P[:1], [4], greedy=False, beam_width=50, top_paths=2)
        every = [list(w) for n in range(5) for w in itertools.product(range(2), repeat=n)]
        best = sorted(every, key=lambda w: -likelihood(P[0], w))[:2]
        assert [[i for i in path[0].tolist() if i >= 0] for path in labels] == best
        expected = [np.log(likelihood(P[0], word)) for word in best]
        np.testing.assert_allclose(score[0], expected, rtol=1e-4)

    def test_merging_the_results_of_a_beam(self):
        written = np.eye(3)[[[2, 0, 2, 0, 1, 2, 1]]]
        for merge, expected in ((False, [0, 0, 1, 1]), (True, [0, 1])):
            (labels,), _ = K.ctc_decode(written, [7], False, 1, 1, merge)
            assert labels.tolist() == [expected + [-1] * (7 - len(expected))]
        eras.set_version("2.2.4")
        assert K.ctc_decode(written, [7], greedy=False)[0][0].tolist() == [[0, 1]]

    def test_symbolic_decoding(self):
        x, n = K.placeholder((None, None, 3)), K.placeholder((None,), dtype="int64")
        labels, score = K.ctc_decode(x, n)
        assert labels[0].shape == (None, None) and score.shape == (None, 1)
        assert K.function([x, n], labels)([P, [4, 3]])[0].shape == (2, 4)

    def test_sparse_labels(self):
        sparse = K.ctc_label_dense_to_sparse(LABELS, COUNTS[:, 0])
        assert K.is_sparse(sparse) and sparse.shape == (2, 2)
        assert K.get_value(sparse).tolist() == [[0, 1], [1, 0]]
        assert sparse.coalesce().indices().t().tolist() == [[0, 0], [0, 1], [1, 0]]
