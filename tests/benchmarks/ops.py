"""What a call of keras.ops on tensors costs above torch's own function.

    OMP_NUM_THREADS=1 python tests/benchmarks/ops.py [--rounds 200]

Both take turns, round by round, so that other load on the machine meets both; medians are printed,
in microseconds.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch.nn import functional

from torchkeras import ops

TARGET = 2.0  # microseconds above torch's own function
CALLS = 200  # in each round
X, W = torch.ones(4, 4), torch.ones(4, 4)

# Name, call of keras.ops, the same of torch, whether the target holds for it.
CASES = [
    ("add(x, y)", lambda: ops.add(X, W), lambda: torch.add(X, W), True),
    ("matmul(x, y)", lambda: ops.matmul(X, W), lambda: torch.matmul(X, W), True),
    ("relu(x)", lambda: ops.relu(X), lambda: torch.relu(X), True),
    ("reshape(x, (2, 8))", lambda: ops.reshape(X, (2, 8)), lambda: torch.reshape(X, (2, 8)), True),
    ("add(x, 2.0)", lambda: ops.add(X, 2.0), lambda: torch.add(X, 2.0), False),
    ("mean(x)", lambda: ops.mean(X), lambda: torch.mean(X), False),
    ("softmax(x)", lambda: ops.softmax(X), lambda: functional.softmax(X, -1), False),
]


def took(call):
    """Microseconds for one call, of many."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS * 1e6


def main():
    """Print the medians, and the target beside those that have one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for name, ours, theirs, has_target in CASES:
        pairs = [(took(ours), took(theirs)) for _ in range(rounds)]
        mine, plain = (statistics.median(column) for column in zip(*pairs))
        extra = statistics.median(one - other for one, other in pairs)
        target = f"target {TARGET}" if has_target else "no target"
        print(f"{name:20} ops {mine:5.2f}, torch {plain:5.2f}, above {extra:5.2f} ({target})")


if __name__ == "__main__":
    main()
