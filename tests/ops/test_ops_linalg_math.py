"""keras.ops.linalg, math and einops: what they refuse, and what Keras' own computes otherwise."""

import numpy as np
import pytest
import torch

from torchkeras import ops
from torchkeras.variable import Variable

ONE, SQUARE, OBLONG = torch.ones(3), torch.ones(3, 3), torch.ones(2, 3)


@pytest.mark.parametrize(
    "call,words",
    [
        *(
            (lambda name=name, x=x: getattr(ops, name)(x), rf"ops.{name} failed .*\({shape}\)")
            for name in "cholesky cholesky_inverse det eig eigh inv".split()
            for x, shape in ((ONE, "3,"), (OBLONG, "2, 3"))
        ),
        *(
            (lambda name=name: getattr(ops, name)(ONE), rf"ops.{name} failed .*\(3,\)")
            for name in "lu_factor matrix_rank pinv qr svd logdet".split()
        ),
        (lambda: ops.cholesky(-SQUARE), "ops.cholesky failed .*positive-definite"),
        (lambda: ops.inv(torch.zeros(2, 2)), "ops.inv failed .*singular"),
        (lambda: ops.solve(SQUARE, torch.ones(2)), r"ops.solve failed .*\(3, 3\).*\(2,\)"),
        (lambda: ops.solve_triangular(SQUARE, torch.ones(2)), "ops.solve_triangular failed"),
        (lambda: ops.lstsq(SQUARE, torch.ones(2)), "ops.lstsq failed"),
        (lambda: ops.qr(SQUARE, mode="raw"), "ops.qr: mode must be .*'raw'"),
        (lambda: ops.norm(SQUARE, ord="fro", axis=1), "ops.norm failed"),
        (lambda: ops.norm(SQUARE, ord="max"), "ops.norm failed .*max"),
        (lambda: ops.norm(SQUARE, axis=2), "ops.norm failed"),
        (lambda: ops.cdist(ONE, SQUARE), r"ops.cdist: expected .*\(3,\) and \(3, 3\)"),
        (lambda: ops.cdist(SQUARE, torch.ones(3, 2)), "ops.cdist: expected"),
        (lambda: ops.segment_sum(SQUARE, SQUARE), "ops.segment_sum: segment_ids must be a vector"),
        (lambda: ops.segment_max(SQUARE, torch.ones(2).int()), "ops.segment_max: .*each row"),
        (lambda: ops.top_k(ONE, 4), "ops.top_k failed .*out of range"),
        (lambda: ops.in_top_k(torch.tensor([5]), torch.ones(1, 3), 1), "ops.in_top_k failed"),
        (lambda: ops.logsumexp(ONE, axis=1), "ops.logsumexp failed"),
        (lambda: ops.extract_sequences(ONE, 4, 1), "ops.extract_sequences failed"),
        (lambda: ops.view_as_complex(ONE), "ops.view_as_complex: .*size 2"),
        (lambda: ops.view_as_real(ONE), "ops.view_as_real failed .*complex"),
        (lambda: ops.fft(SQUARE), "ops.fft: x must be a pair"),
        (lambda: ops.fft2((ONE, SQUARE)), r"ops.fft2: .*same shape; received \(3,\)"),
        (lambda: ops.irfft((ONE.int(), ONE.int())), "ops.irfft failed"),
        (lambda: ops.ifft2((ONE, ONE)), "ops.ifft2 failed"),
        (
            lambda: ops.stft(torch.ones(20), 8, 3, 8, window="hat"),
            "window 'hann'.* received 3 and 'hat'",
        ),
        (lambda: ops.stft(torch.ones(20), 8, 3, 8, window=ONE), r"of shape \(8,\)"),
        (lambda: ops.stft(torch.ones(20), 8, 3, 7), "ops.stft failed"),
        (lambda: ops.stft(torch.ones(20), 8, 0, 8), "sequence_stride must be .*0"),
        (lambda: ops.istft((SQUARE, SQUARE), 4, 1.5, 4), "sequence_stride must be .*1.5"),
        (lambda: ops.rearrange(SQUARE, "a b c -> c b a"), "expected a pattern of 2 axes"),
        (lambda: ops.rearrange(SQUARE, "a b -> a c"), "the same names"),
        (lambda: ops.rearrange(SQUARE, "a b"), "the same names"),
        (
            lambda: ops.rearrange(SQUARE, "(a b) c -> a b c", a=2),
            r"\(a b\).* do not make up size 3",
        ),
        (lambda: ops.rearrange(SQUARE, "(a b) c -> a b c"), "do not make up size 3"),
    ],
)
def test_errors_name_the_function_and_what_was_wrong(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_short_time_transforms_take_floats_only():
    with pytest.raises(TypeError, match="ops.stft: x must be float32 or float64; received .*int64"):
        ops.stft(torch.ones(20).long(), 8, 3, 8)


def test_segments_are_exact_where_floats_are_not():
    # Keras on torch adds in float32.
    x = torch.tensor([2**30 + 1, 2**30 + 2, 5])
    assert ops.segment_sum(x, [0, 0, 1]).tolist() == [2**31 + 3, 5]
    assert ops.segment_max(x, [0, 0, 1]).tolist() == [2**30 + 2, 5]
    one = torch.tensor([1.0, 1e-12], dtype=torch.float64)
    assert ops.segment_sum(one, [0, 0]).item() == 1 + 1e-12


def test_segments_of_nothing():
    ids = torch.tensor([0, 2])
    assert ops.segment_max([1.0, 2.0], ids).tolist() == [1.0, -torch.inf, 2.0]
    assert ops.segment_min([1, 2], ids).tolist() == [1, 2**31 - 1, 2]
    assert ops.segment_prod([3.0, 2.0], ids).tolist() == [3.0, 1.0, 2.0]
    assert ops.segment_sum(np.ones((0, 3), "float32"), np.zeros(0, "int32")).shape == (0, 3)
    assert (
        ops.segment_sum(np.ones((0, 3), "float32"), np.zeros(0, "int32"), 2).tolist()
        == [[0] * 3] * 2
    )


def test_the_gradient_of_no_distance_is_0():
    # Keras gives NaN, of the square root of 0.
    x = torch.tensor([[1.0, 2.0], [4.0, 6.0]], requires_grad=True)
    distances = ops.cdist(x, x.detach())
    assert distances.tolist() == [[0.0, 5.0], [5.0, 0.0]]
    distances.sum().backward()
    np.testing.assert_allclose(x.grad, [[-0.6, -0.8], [0.6, 0.8]], 1e-6)


def test_distances_of_bytes_do_not_wrap_around():
    x = torch.tensor([[0, 0]], dtype=torch.uint8)
    assert ops.cdist(x, torch.tensor([[150, 200]], dtype=torch.uint8)).tolist() == [[250.0]]


@pytest.mark.parametrize("window", ["hann", "hamming"])
@pytest.mark.parametrize("length", [8, 11])
def test_signals_come_back_from_their_transforms(window, length):
    x = torch.randn(2, 3, 64)
    parts = ops.stft(x, 8, 2, length, window)
    back = ops.istft(parts, 8, 2, length, window=window)
    inside = slice(8, back.shape[-1] - 8)
    np.testing.assert_allclose(back[..., inside], x[..., inside], 1e-4, 1e-5)


def test_variables_and_lists_are_taken():
    weight = Variable(np.array([[2.0, 0.0], [0.0, 4.0]], "float32"))
    assert ops.inv(weight).tolist() == [[0.5, 0.0], [0.0, 0.25]]
    assert ops.norm([3.0, 4.0]).item() == 5.0
    assert ops.fft(([1, 2.0], [0.0, 1]))[0].tolist() == [3.0, -1.0]
    real, _ = ops.fft((weight, weight))
    assert real.tolist() == [[2.0, 2.0], [4.0, -4.0]]
    assert ops.jvp(lambda x: x**2, [3.0], [1.0])[1].item() == 6.0


def test_tuples_are_plain_ones():
    for name in "eig eigh svd qr lu_factor".split():
        assert type(getattr(ops, name)(torch.eye(3))) is tuple
    assert type(ops.top_k(ONE, 1)) is tuple
