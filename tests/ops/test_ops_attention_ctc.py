"""Attention and CTC: kernels, combined masks, what the captured step does, errors."""

import itertools
import math

import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import ops
from torchkeras.ops import attention, ctc  # noqa: F401  (they declare what is used)

Q, K, V = torch.randn(2, 5, 4, 8), torch.randn(2, 6, 4, 8), torch.randn(2, 6, 4, 3)


def attended(query, key, value, bias=0.0, shown=True, scale=None):
    """Attend by the formula."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    logits = torch.einsum("btnh,bsnh->bnts", query, key) * scale + bias
    logits = torch.where(torch.as_tensor(shown), logits, -1e30)
    return torch.einsum("bnts,bsnh->btnh", logits.softmax(-1), value)


def test_bias_mask_and_causality_add_up():
    bias, mask = torch.randn(2, 4, 5, 6), torch.rand(2, 1, 1, 6) > 0.3
    causal = torch.ones(5, 6).tril().bool()
    mask[..., 0] = True
    found = ops.dot_product_attention(Q, K, V, bias, mask, 0.2, True)
    torch.testing.assert_close(found, attended(Q, K, V, bias, mask & causal, 0.2))
    found = ops.dot_product_attention(Q, K, V, bias=bias, is_causal=True)
    torch.testing.assert_close(found, attended(Q, K, V, bias, causal))
    found = ops.dot_product_attention(Q, K, V, bias=bias.half(), mask=mask)
    torch.testing.assert_close(found, attended(Q, K, V, bias.half(), mask))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_a_query_gets_that_sees_nothing_is_finite(dtype):
    query, key, value = (x.to(dtype, copy=True).requires_grad_() for x in (Q, K, V))
    found = ops.dot_product_attention(query, key, value, mask=torch.zeros(1, 1, 5, 6).bool())
    found.sum().backward()
    assert all(torch.isfinite(x).all() for x in (found, query.grad, key.grad, value.grad))


def test_flash_attention_chooses_the_kernel():
    def kernels(**kwargs):
        with torch.profiler.profile() as log:
            ops.dot_product_attention(Q, K, K, **kwargs)
        return {event.name for event in log.events() if "attention" in event.name}

    flash = "aten::_scaled_dot_product_flash_attention_for_cpu"
    assert flash in kernels(flash_attention=True)
    assert flash in kernels()
    assert flash not in kernels(flash_attention=False)
    with pytest.raises(ValueError, match="ops.dot_product_attention failed on .*kernel"):
        ops.dot_product_attention(Q, K, V, flash_attention=True)  # its values are of another size


def test_layout_is_kept_without_a_copy():
    y = ops.dot_product_attention(Q, K, K)
    assert y.is_contiguous()


def test_attention_refuses():
    with pytest.raises(ValueError, match="attn_logits_soft_cap is known to JAX on a TPU alone"):
        ops.dot_product_attention(Q, K, V, attn_logits_soft_cap=30.0)
    with pytest.raises(ValueError, match=r"of 4 dimensions.*\(2, 5, 4\)"):
        ops.dot_product_attention(Q[..., 0], K, V)
    with pytest.raises(ValueError, match="of 4 dimensions"):
        ops.dot_product_attention(torchkeras.KerasTensor((None, 5, 4)), K, V)
    with pytest.raises(ValueError, match=r"failed on float32 of shape \(2, 5, 4, 8\)"):
        ops.dot_product_attention(Q, K[..., :5], V)


# ------------------------------------------------------------------------------------------- CTC


def written(path, blank):
    """Return the labels that a path of classes means."""
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


def likelihoods(logits, blank):
    """Return the probability of each sequence of labels, over all paths."""
    probabilities = torch.as_tensor(logits).double().softmax(-1).numpy()
    found = {}
    for path in itertools.product(range(probabilities.shape[1]), repeat=len(probabilities)):
        number = math.prod(probabilities[step, label] for step, label in enumerate(path))
        found[written(path, blank)] = found.get(written(path, blank), 0) + number
    return found


@pytest.mark.parametrize("blank", [0, 2])
def test_a_wide_beam_finds_the_likeliest_of_all(blank):
    logits = torch.randn(3, 5, 3) * 2
    lengths = torch.tensor([5, 4, 1])
    labels, scores = ops.ctc_decode(
        logits, lengths, "beam_search", beam_width=200, top_paths=3, mask_index=blank
    )
    assert (labels.dtype, labels.shape, scores.shape) == (torch.int32, (3, 3, 5), (3, 3))
    for sample, length in enumerate(lengths.tolist()):
        all_of_them = likelihoods(logits[sample, :length], blank)
        best = sorted(all_of_them, key=all_of_them.get, reverse=True)[:3]
        for rank, expected in enumerate(best):
            assert labels[rank, sample].tolist() == [*expected, *[-1] * (5 - len(expected))]
            np.testing.assert_allclose(scores[sample, rank].exp(), all_of_them[expected], 1e-5)


def test_the_loss_is_the_likelihood_over_all_paths():
    logits = torch.randn(4, 5, 4, requires_grad=True)
    target = torch.tensor([[1, 2, 2], [3, 1, 0], [1, 1, 0], [2, 0, 0]])
    lengths, steps = torch.tensor([3, 2, 2, 0]), torch.tensor([5, 4, 3, 2])
    loss = ops.ctc_loss(target, logits, lengths, steps)
    for sample in range(4):
        wanted = tuple(target[sample, : lengths[sample]].tolist())
        expected = likelihoods(logits[sample, : steps[sample]].detach(), 0)[wanted]
        np.testing.assert_allclose(loss[sample].detach(), -math.log(expected), 1e-5)
    loss.sum().backward()
    step = 1e-3
    with torch.no_grad():
        for at in ((0, 2, 1), (1, 0, 3), (2, 1, 0)):
            moved = [logits.clone(), logits.clone()]
            moved[0][at] += step
            moved[1][at] -= step
            up, down = (ops.ctc_loss(target, x, lengths, steps).double().sum() for x in moved)
            np.testing.assert_allclose(logits.grad[at], (up - down) / (2 * step), 2e-2, 2e-3)


def test_labels_that_do_not_fit_cost_infinity():
    target, steps = torch.tensor([[1, 1, 1]]), torch.tensor([4])  # needs two blanks in between
    assert ops.ctc_loss(target, torch.zeros(1, 4, 3), torch.tensor([3]), steps).tolist() == [
        torch.inf
    ]


def test_fewer_sequences_than_wanted_leave_minus_one():
    labels, scores = ops.ctc_decode(torch.zeros(1, 1, 2), [1], "beam_search", top_paths=4)
    assert labels[:, 0, 0].tolist() == [-1, 1, -1, -1]
    assert scores[0, 2:].tolist() == [-torch.inf, -torch.inf]


def test_greedy_merges_what_is_repeated():
    path = torch.tensor([[0, 1, 1, 0, 1, 2, 2, 2]])
    logits = torch.nn.functional.one_hot(path, 3).float() * 2
    labels, scores = ops.ctc_decode(logits, torch.tensor([7]))
    assert labels.tolist() == [[[1, 1, 2, -1, -1, -1, -1, -1]]]
    assert scores.tolist() == [[-14.0]]
    labels, _ = ops.ctc_decode(logits, torch.tensor([7]), merge_repeated=False)
    assert labels.tolist() == [[[1, 1, 1, 2, 2, -1, -1, -1]]]


def test_decoding_refuses_an_unknown_strategy():
    with pytest.raises(ValueError, match="'greedy' or 'beam_search'; received 'best'"):
        ops.ctc_decode(torch.zeros(1, 2, 3), torch.tensor([2]), "best")


# ------------------------------------------------------------------------------- captured step


class Attentive(torchkeras.Layer):
    """Attends to its input's own steps."""

    def call(self, x):
        heads = ops.reshape(x, (-1, 6, 2, 4))
        return ops.reshape(
            ops.dot_product_attention(heads, heads, heads, is_causal=True), (-1, 6, 8)
        )


def ctc_of(y_true, y_pred):
    """Labels, then their number, then the number of steps."""
    return ops.ctc_loss(y_true[:, :3], y_pred, y_true[:, 3], y_true[:, 4])


def trained(loss, y, run_eagerly):
    """Train a model that attends; return its losses and how it was run."""
    torchkeras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(size=(32, 6, 8)).astype("float32")
    inputs = torchkeras.Input((6, 8))
    model = torchkeras.Model(inputs, torchkeras.layers.Dense(5)(Attentive()(inputs)))
    model.compile("adam", loss, run_eagerly=run_eagerly)
    history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return history.history["loss"], str(model.step_report())


def test_attention_is_captured():
    y = np.random.default_rng(1).normal(size=(32, 6, 5)).astype("float32")
    losses, report = trained("mse", y, None)
    assert report.startswith("train: captured")
    np.testing.assert_allclose(losses, trained("mse", y, True)[0], 1e-5)


def test_ctc_stays_eager_since_its_shapes_follow_the_lengths():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 4, (32, 1)), rng.integers(5, 7, (32, 1))
    y = np.concatenate([rng.integers(1, 5, (32, 3)), *counts], 1).astype("int32")
    losses, report = trained(ctc_of, y, None)
    assert "eager, since a shape depends on values (aten._ctc_loss.Tensor)" in report
    np.testing.assert_allclose(losses, trained(ctc_of, y, True)[0], 1e-5)
