"""Freed memory stays while fit runs and is given back afterwards; others' malloc is left alone."""

import os
import subprocess
import sys
import time

import pytest

from torchkeras import config
from torchkeras.training import memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is Linux'")

BEGIN = """
import resource, threading, torch
from torchkeras import config
from torchkeras.training import memory
x = torch.ones(10_000_000)  # larger than any threshold of glibc's
def faults(times):
    counts = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
    for _ in range(times):
        y = (x + 1) * 2
        del y
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    # The fewest: now and then an aligned block does not fit where the last one lay.
    return min(after - before for before, after in zip(counts, counts[1:]))
"""


def run(code, **environment):
    """Run code in a process of its own; return what it prints, as numbers."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    env = {**env, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


def test_page_faults_end_and_memory_comes_back():
    before, within, peak, left = run("""
before = faults(3)
with memory.kept():
    parts = [x + 1 for _ in range(5)]
    pin = torch.empty(1000)  # above them in the heap
    del parts
    within = faults(8)
    peak = memory._resident()
print(before, within, peak, memory._resident())
""")
    assert within < before / 10
    assert peak - left > 150_000_000


def test_nested_blocks_and_threads_give_back_at_the_end_of_the_last():
    inner, afterwards, last, left = run("""
go_on, inside = threading.Event(), threading.Event()
def other():
    with memory.kept():
        inside.set()
        go_on.wait()
thread = threading.Thread(target=other)
with memory.kept():
    thread.start()
    inside.wait()
    with memory.kept():
        inner = faults(8)
    afterwards = faults(3)
still = faults(3)
go_on.set()
thread.join()
print(inner + still, afterwards, faults(1), memory._depth)
""")
    assert max(inner, afterwards) < last / 10
    assert left == 0


def test_an_error_gives_back_too(untuned):
    with pytest.raises(KeyError), memory.kept():
        assert memory._depth == 1
        raise KeyError
    assert memory._depth == 0


def test_blocks_larger_than_a_threads_heap_can_be_had():
    (total,) = run("""
def big():
    with memory.kept():
        print(int((x.repeat(10)).sum()))
thread = threading.Thread(target=big)
thread.start()
thread.join()
""")
    assert total == 100_000_000


MEASURE = """
with memory.kept():
    print(faults(8))
"""


def test_the_setting_leaves_malloc_alone():
    assert run(MEASURE)[0] < run("config.set_keep_memory(False)" + MEASURE)[0] / 10


@pytest.fixture
def untuned(monkeypatch):
    """An environment that does not tune malloc."""
    for name in [*filter(lambda name: name.startswith(("MALLOC_", "GLIBC_")), os.environ)]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_ARENA_MAX", "2"),
        ("MALLOC_TOP_PAD_", "131072"),
        ("GLIBC_TUNABLES", "glibc.malloc.top_pad=131072"),
    ],
)
def test_a_malloc_that_the_user_tuned_is_left_alone(monkeypatch, untuned, name, value):
    monkeypatch.setenv(name, value)
    assert memory._glibc.__wrapped__() is None


def test_other_tunables_are_no_reason(monkeypatch, untuned):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.cpu.x86_ibt=off")
    assert memory._glibc.__wrapped__() is not None


def test_another_malloc_is_left_alone(tmp_path):
    source, library = tmp_path / "own.c", tmp_path / "own.so"
    source.write_text(
        "#include <stddef.h>\nextern void *__libc_malloc(size_t);\n"
        "void *malloc(size_t n) { return __libc_malloc(n); }\n"
    )
    try:
        command = ["cc", "-shared", "-fPIC", str(source), "-o", str(library)]
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs a C compiler")
    (is_left,) = run("print(int(memory._glibc() is None))", LD_PRELOAD=str(library))
    assert is_left == 1


def test_the_cost_of_a_block_is_small(untuned):
    times = []
    for _ in range(101):
        start = time.perf_counter()
        with memory.kept():
            pass
        times.append(time.perf_counter() - start)
    assert sorted(times)[20] < 200e-6


def test_the_setting_is_read_back_and_checked():
    assert config.keep_memory() is True
    config.set_keep_memory(False)
    assert config.keep_memory() is False
    with pytest.raises(ValueError, match="keep_memory must be True or False; received 'no'"):
        config.set_keep_memory("no")
