"""What the progress bar costs: fit with verbose=1 in a terminal against verbose=0.

    python tests/benchmarks/bar.py [--rounds 15]

It draws on a pseudo-terminal that it opens itself; the ratios of medians of interleaved runs are
printed for the smallest model (the worst case) and a larger one.
"""

import argparse
import contextlib
import os
import pty
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from ways import Fit
from workloads import WORKLOADS

import torchkeras


def reader(descriptor):
    """Take what is drawn, as a terminal would."""
    with contextlib.suppress(OSError):
        while os.read(descriptor, 65536):
            pass


def main():
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    outer, inner = pty.openpty()
    threading.Thread(target=reader, args=(outer,), daemon=True).start()
    terminal = os.fdopen(inner, "w")
    for work in (WORKLOADS[0], WORKLOADS[2]):
        with contextlib.redirect_stdout(terminal):
            ways = {verbose: Fit(work, torchkeras, verbose) for verbose in (0, 1)}
            times = {0: [], 1: []}
            epochs = max(1, 6000 // work.steps) if work.steps < 100 else 2
            for _ in range(options.rounds):
                for verbose, way in ways.items():
                    way.restore()
                    start = time.perf_counter()
                    way.fit(epochs)
                    times[verbose].append(time.perf_counter() - start)
        ratio = statistics.median(times[1]) / statistics.median(times[0])
        print(f"{work.title}: verbose=1 takes {ratio:.3f} of verbose=0")


if __name__ == "__main__":
    main()
