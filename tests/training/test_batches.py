"""Batches: the same rows whichever way they are cut, little memory, copies one batch ahead."""

import time

import pytest
import torch

from torchkeras.training import data
from torchkeras.training.data import Batches


def listed(batches):
    return [[None if part is None else part.tolist() for part in batch] for batch in batches]


@pytest.mark.parametrize("shuffle", [True, "batch", False])
def test_views_of_a_copy_and_rows_picked_one_by_one_are_alike(monkeypatch, shuffle):
    x, y = torch.rand(23, 2), torch.arange(23)

    def epochs():
        torch.manual_seed(0)
        batches = Batches(x, y, x[:, 0], 5, shuffle)
        return [listed(batches), listed(batches)]

    expected = epochs()
    monkeypatch.setattr(data, "_COPIED", 0)
    assert epochs() == expected
    rows = [number for _, y, _ in expected[0] for number in y]
    assert sorted(rows) == list(range(23)) and (rows == list(range(23))) == (not shuffle)
    assert [len(y) for _, y, _ in expected[0]] == [5, 5, 5, 5, 3]
    for x_rows, y_rows, weights in expected[0]:
        assert x_rows == x[y_rows].tolist() and weights == x[y_rows, 0].tolist()


def memories(batches):
    """The memory that x and y of each batch lie in."""
    kept = [(x, y) for x, y, _ in batches]
    parts = ([pair[i].untyped_storage() for pair in kept] for i in (0, 1))
    return [{memory.data_ptr() for memory in part} for part in parts]


def test_only_small_batches_are_views_of_a_copy():
    """Each part by itself: of 40 large rows of x and 40 labels, only the labels are copied."""
    x, y = torch.rand(40, 1000), torch.arange(40)
    of_x, of_y = memories(Batches(x, y, None, 10, True))
    assert len(of_x) == 4 and len(of_y) == 1 and y.data_ptr() not in of_y
    of_x, of_y = memories(Batches(x[:, :100], y, None, 10, True))
    assert len(of_x) == len(of_y) == 1


def test_without_a_new_order_batches_are_views_of_the_data():
    x, y = torch.rand(40, 10), torch.arange(40)
    assert memories(Batches(x, y, None, 10)) == [{x.data_ptr()}, {y.data_ptr()}]


def test_a_new_epoch_leaves_the_last_ones_batches_alone():
    """The objective may not have reduced them yet, a layer may keep them."""
    batches = Batches(torch.arange(40.0)[:, None], torch.arange(40), None, 10, True)
    first = list(batches)
    before = listed(first)
    list(batches)
    assert listed(first) == before


def test_no_copy_takes_more_than_a_quarter_of_the_free_memory(monkeypatch):
    monkeypatch.setattr(data, "_UNASKED", 0)
    x, y = torch.rand(40, 10), torch.arange(40)
    for free, copies in ((4 * x.nbytes, 1), (4 * x.nbytes - 1, 4)):
        monkeypatch.setattr(data, "_free", lambda device, free=free: free)
        of_x, of_y = memories(Batches(x, y, None, 10, True))
        assert len(of_x) == copies and len(of_y) == 1


def test_the_free_memory_of_the_host_is_known():
    assert 2**20 < data._free(torch.device("cpu")) < 2**50


def test_where_nobody_tells_the_free_memory_it_counts_as_none(monkeypatch):
    def missing(*args):
        raise OSError("no such file")

    monkeypatch.setattr("builtins.open", missing)
    monkeypatch.setattr("os.sysconf", missing)
    assert data._free(torch.device("cpu")) == 0


def test_batches_hold_inputs_targets_and_weights_in_that_order():
    (batch,) = Batches(torch.ones(2, 1), torch.zeros(2))
    assert len(batch) == 3 and batch[0].shape == (2, 1) and batch[2] is None
    xs, ys = [torch.ones(2, 1), torch.ones(2, 3)], [torch.zeros(2), torch.zeros(2, 5)]
    (batch,) = Batches(xs, ys, [None, torch.ones(2)])
    shapes = [None if part is None else tuple(part.shape) for part in batch]
    assert shapes == [(2, 1), (2, 3), (2,), (2, 5), None, (2,)]


def test_picked_batches_share_memory_as_long_as_nobody_holds_them():
    x = torch.arange(160_000.0).reshape(160, 1000)
    pointers, right, held = set(), [], []
    for index, (batch, _, _) in enumerate(Batches(x, batch_size=8, shuffle=True)):
        pointers.add(batch.data_ptr())
        right.append(torch.equal(batch, x[(batch[:, 0] / 1000).long()]))
        if index == 0:
            held = [batch[2:4], batch[2:4].clone()]  # a view is enough to keep the memory
    assert len(pointers) < 10  # of 20
    assert all(right) and torch.equal(*held)


def test_a_step_of_the_loop_costs_little():
    batches = Batches(torch.rand(5000, 8), torch.rand(5000, 1), None, 10)
    times = []
    for _ in range(50):
        iterator = iter(batches)
        start = time.perf_counter()
        for _index, (_x, _y, _weight) in enumerate(iterator):
            pass
        times.append(time.perf_counter() - start)
    assert min(times) / 500 < 1e-6


# -------------------------------------------------------------------------- larger than the device


def test_one_ahead_makes_the_next_item_before_it_gives_one_away():
    events = []

    def make():
        for item in range(3):
            events.append(f"make {item}")
            yield item

    for item in data._one_ahead(make()):
        events.append(f"use {item}")
    assert events == ["make 0", "make 1", "use 0", "make 2", "use 1", "use 2"]
    assert list(data._one_ahead([])) == []
    assert list(data._one_ahead([7])) == [7]


class Events:
    """torch.cuda's stream and events, noting what happens; copies stay on the host."""

    def __init__(self, monkeypatch):
        self.log, self.sent, self.inside = [], 0, False
        self.pinned = []
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: self)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: self)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self)
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda part: self.pin(part))
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda part, stream: self.hold(part))
        monkeypatch.setattr(
            torch.Tensor, "to", lambda part, *args, **kw: self.to(part, *args, **kw)
        )

    def __enter__(self):
        self.inside = True

    def __exit__(self, *error):
        self.inside = False

    def pin(self, part):
        self.pinned.append(part)
        return part

    def to(self, part, device, non_blocking=False):
        assert self.inside and non_blocking and any(part is pinned for pinned in self.pinned)
        return part

    def hold(self, part):
        self.log.append("hold")

    def record_event(self):
        assert self.inside
        self.sent += 1
        self.log.append(f"send {self.sent}")
        return self.sent

    def wait_event(self, event):
        assert not self.inside
        self.log.append(f"wait {event}")


def test_the_order_of_copies_waits_and_uses(monkeypatch):
    rows = list(Batches(torch.rand(6, 2), torch.arange(6), None, 2))
    events = Events(monkeypatch)
    for batch in data._copied_ahead(iter(rows), torch.device("cuda")):
        events.log.append(f"use {batch[1][0] // 2 + 1}")
    assert events.log == [
        *("send 1", "send 2", "wait 1", "hold", "hold", "use 1"),
        *("send 3", "wait 2", "hold", "hold", "use 2"),
        *("wait 3", "hold", "hold", "use 3"),
    ]


@pytest.mark.cuda
@pytest.mark.parametrize("shuffle", [True, "batch", False])
def test_data_larger_than_the_gpu(monkeypatch, shuffle):
    x, y = torch.rand(1000, 300), torch.arange(1000)
    monkeypatch.setattr(data, "_fits", lambda size, device: False)
    batches = Batches(x, y, None, 128, shuffle, device="cuda")
    assert not batches.x.is_cuda
    seen = []
    for rows, labels, _ in batches:
        assert rows.is_cuda and labels.is_cuda
        torch.cuda._sleep(100_000)
        seen.append((rows * 1, labels * 1))
    rows, labels = (torch.cat(parts).cpu() for parts in zip(*seen))
    assert torch.equal(rows, x[labels]) and sorted(labels.tolist()) == list(range(1000))


@pytest.mark.cuda
def test_data_on_the_gpu_is_shuffled_by_one_copy():
    of_x, _ = memories(
        Batches(torch.rand(400, 1000), torch.arange(400), None, 100, True, None, "cuda")
    )
    assert len(of_x) == 1
