"""One thread for tiny steps; a number that the user chose stays."""

import pytest
import torch

from torchkeras.training import threads

TINY, LARGE = 10_000, 10**9


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    """A machine whose torch chose three threads by itself."""
    before = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "_at_import", 3)
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("work", "number"), [(TINY, 1), (LARGE, 3)])
def test_only_tiny_steps_run_on_one_thread(work, number):
    with threads.suited(work):
        assert torch.get_num_threads() == number
    assert torch.get_num_threads() == 3


def test_the_number_comes_back_after_an_error():
    with pytest.raises(KeyError), threads.suited(TINY):
        raise KeyError
    assert torch.get_num_threads() == 3


def test_a_large_step_within_a_tiny_ones_run_has_all_threads():
    with threads.suited(TINY):
        with threads.suited(LARGE):
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 1
        with threads.suited(TINY):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_what_the_user_set_stays():
    torch.set_num_threads(2)
    with threads.suited(TINY):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 2


def test_what_the_user_sets_meanwhile_stays():
    with threads.suited(TINY):
        torch.set_num_threads(2)
        with threads.suited(TINY):
            assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_the_environments_number_stays(monkeypatch, name):
    monkeypatch.setenv(name, "3")
    with threads.suited(TINY):
        assert torch.get_num_threads() == 3
