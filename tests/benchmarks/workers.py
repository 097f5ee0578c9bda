"""A process of its own for each way of training, which computes only when asked."""

import multiprocessing
import os
import resource
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from ways import maker
from workloads import WORKLOADS

ROOT = str(Path(__file__).parents[2])
MEMORY_EPOCHS = 2


class Failed(Exception):
    """A worker could not answer; the message is its traceback."""


class Runner:
    """What a worker can be asked.

    Args:
        work: the workload.
        make: makes the way of it.
    """

    def __init__(self, work, make):
        self.work, self.make = work, make
        _ = work.x, work.y  # drawn here, so that no measurement sees it

    def start(self):
        """Make the model, and return the milliseconds of its first ``fit``, of one step."""
        self.way = self.make(self.work)
        start = time.perf_counter()
        self.way.fit(1, samples=self.work.batch)
        first = (time.perf_counter() - start) * 1e3
        self.way.restore()
        return first

    def settle(self, seconds):
        """Warm up, and choose as many epochs a round as fill the seconds."""
        self.way.fit(1)
        start = time.perf_counter()
        self.way.fit(1)
        self.epochs = max(1, round(seconds / (time.perf_counter() - start)))

    def round(self):
        """Train from the same state as ever, and return the microseconds a step."""
        self.way.restore()
        start = time.perf_counter()
        self.way.fit(self.epochs)
        return (time.perf_counter() - start) / (self.epochs * self.work.steps) * 1e6

    def report(self):
        """Say how the steps ran."""
        return self.way.report()

    def peak(self):
        """Return the MiB by which making and training the model raised the peak of memory."""
        # Some ways import it and some do not: not their steps' memory.
        import torch._dynamo  # noqa: F401

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.make(self.work).fit(MEMORY_EPOCHS)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        return (after - before) * unit / 2**20


def serve(pipe, way, work, threads):
    """Answer until the pipe closes; runs in the worker.

    Args:
        pipe: brings (question, arguments), takes (whether it went well, answer or traceback).
        way: name of the way.
        work: name of the workload.
        threads: for torch.
    """
    sys.path.insert(0, ROOT)  # torchkeras of this checkout, installed or not
    try:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        np.random.seed(0)
        runner = Runner(next(w for w in WORKLOADS if w.name == work), maker(way))
        while True:
            question, arguments = pipe.recv()
            pipe.send((True, getattr(runner, question)(*arguments)))
    except EOFError:
        return
    except Exception:
        pipe.send((False, traceback.format_exc()))


class Worker:
    """A process that trains one workload in one way; a context manager.

    Args:
        way: name of the way.
        work: the workload.
        threads: for torch.
    """

    def __init__(self, way, work, threads):
        os.environ["KERAS_BACKEND"] = "torch"  # the process inherits both
        os.environ["OMP_NUM_THREADS"] = str(threads)
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, way, work.name, threads), daemon=True
        )
        self._process.start()
        theirs.close()

    def ask(self, question, *arguments):
        """Return the worker's answer.

        Raises:
            Failed: when it has none.
        """
        try:
            self._pipe.send((question, arguments))
            well, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise Failed(f"the process died (exit code {self._process.exitcode})") from None
        if not well:
            raise Failed(answer)
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._pipe.close()
        self._process.join()
