"""How long a training step takes: torchkeras' fit, plain PyTorch loops, Keras 3.

    python tests/benchmarks/steps.py [--threads 2] [--rounds 7] [--keras] [--only NAME …]

It prints a table. A row is a way of training; the strong baseline is a plain loop over tensors in
memory with torch's fused Adam. Its columns:

- µs a step: the median of the rounds. A round trains whole epochs for about half a second, from the
  same restored weights and moments.
- ratio: to the strong baseline, the median over the rounds of the ratio within a round. On a busy
  machine that is steadier than the ratio of two medians: what slows a round slows all its ways,
  while the two medians may come from different rounds.
- ratio, malloc keeping memory: to the strong baseline with glibc's malloc told to keep freed pages,
  as torchkeras tells it while it fits.
- first step: the first ``fit``, of one step, with a model just made in a fresh process, less a
  median step, in ms; the median of a few processes.
- peak: by how many MiB making the model and training two epochs raise the process' peak of
  resident memory; data and imports stand before it.

Each way has a process of its own, since malloc's settings and torch's threads belong to a process.
The processes take turns in every round, in the opposite order every second time; one computes, the
others wait. How torchkeras ran its steps goes to the standard error stream.
"""

import argparse
import contextlib
import importlib.util
import statistics
import sys
import time

from ways import KEPT, KERAS, STRONG, WAYS
from workers import Failed, Worker
from workloads import WORKLOADS

COLUMNS = (
    "workload",
    "way",
    "µs a step",
    "ratio",
    "ratio, malloc keeping memory",
    "first step, ms",
    "peak, MiB",
)
PAUSE = 0.02  # seconds: the threads of the process that had its turn spin for a while


class Bench:
    """The measurement of one workload.

    Args:
        work: the workload.
        ways: names of the ways.
        options: of the command line.
    """

    def __init__(self, work, ways, options):
        self.work, self.options = work, options
        self.ways = list(ways)  # those that have not failed
        self.failed = {}
        self.first = {name: [] for name in ways}
        self.rounds = {name: [] for name in ways}
        self.peak = {}

    def each(self, do):
        """Do something for every way; one that fails is out of the rest."""
        for name in list(self.ways):
            try:
                do(name)
            except Failed as error:
                self.ways.remove(name)
                self.failed[name] = str(error)
                say(f"{self.work.title}: {WAYS[name][0]} failed: {error}")

    def run(self):
        """Measure everything."""
        with contextlib.ExitStack() as stack:
            workers = {}

            def start(name):
                worker = stack.enter_context(self.worker(name))
                self.first[name].append(worker.ask("start"))
                worker.ask("settle", self.options.seconds)
                workers[name] = worker

            def one_round(name):
                time.sleep(PAUSE)
                self.rounds[name].append(workers[name].ask("round"))

            def report(name):
                if text := workers[name].ask("report"):
                    say(f"{self.work.title}: {WAYS[name][0]}: {text}")

            self.each(start)
            for _ in range(self.options.rounds):
                self.each(one_round)
                self.ways.reverse()
            self.each(report)
        for _ in range(self.options.starts - 1):
            self.each(self.start_again)
        self.each(self.measure_memory)

    def worker(self, name):
        """A fresh process."""
        return Worker(name, self.work, self.options.threads)

    def start_again(self, name):
        """Time one more first step."""
        with self.worker(name) as worker:
            self.first[name].append(worker.ask("start"))

    def measure_memory(self, name):
        """Ask a fresh process for its peak."""
        with self.worker(name) as worker:
            self.peak[name] = worker.ask("peak")

    def row(self, name):
        """The cells of a way."""
        cells = [self.work.title, WAYS[name][0]]
        if name in self.failed:
            return [*cells, "failed", *["–"] * 4]
        step = statistics.median(self.rounds[name])
        first = statistics.median(self.first[name]) - step / 1e3
        ratios = (self.ratio(name, STRONG), self.ratio(name, KEPT))
        return [*cells, f"{step:.0f}", *ratios, f"{first:.1f}", f"{self.peak[name]:.0f}"]

    def ratio(self, name, baseline):
        """The median over the rounds of a way's time in the baseline's."""
        if baseline in self.failed:
            return "–"
        pairs = zip(self.rounds[name], self.rounds[baseline])
        return f"{statistics.median(mine / theirs for mine, theirs in pairs):.2f}"


def say(text):
    """Write to the standard error stream, beside the table."""
    print(text, file=sys.stderr, flush=True)


def main():
    """Print the table; the exit code is 1 where a way failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a round, about")
    parser.add_argument("--starts", type=int, default=3, help="processes that time a first step")
    parser.add_argument("--keras", action="store_true", help="also Keras 3 on torch")
    names = [work.name for work in WORKLOADS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    options = parser.parse_args()
    if min(options.rounds, options.starts, options.threads) < 1:
        parser.error("--rounds, --starts and --threads take at least 1")
    if options.keras and importlib.util.find_spec("keras") is None:
        parser.error("--keras: Keras is not installed")
    ways = [name for name in WAYS if name != KERAS or options.keras]
    failed = False
    print(f"| {' | '.join(COLUMNS)} |")
    print("| --- | --- |" + " ---: |" * (len(COLUMNS) - 2), flush=True)
    for work in WORKLOADS:
        if work.name not in options.only:
            continue
        bench = Bench(work, ways, options)
        bench.run()
        for name in ways:
            print(f"| {' | '.join(bench.row(name))} |", flush=True)
        failed = failed or bool(bench.failed)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
