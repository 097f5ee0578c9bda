"""What a script waits for once: the import beyond torch's, and the first fit beyond its own steps.

    python tests/benchmarks/first_use.py [--rounds 7]

Each round is a fresh process; the medians are printed, in seconds.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, time
start = time.perf_counter(); import torch
torch_done = time.perf_counter(); import torchkeras
imported = time.perf_counter()
import numpy as np
from torchkeras.layers import Dense
from torchkeras.models import Sequential
torch.set_num_threads(1)
x = np.random.rand(768, 8).astype("float32")
y = (x.sum(1) > 4).astype("float32")
begin = time.perf_counter()
model = Sequential([Dense(12, activation="relu", input_dim=8), Dense(1, activation="sigmoid")])
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
defined = time.perf_counter()
fits = []
for _ in range(3):
    before = time.perf_counter()
    model.fit(x, y, epochs=1, batch_size=10, verbose=0)
    fits.append(time.perf_counter() - before)
print(json.dumps({
    "import torch": torch_done - start,
    "import torchkeras, beyond torch": imported - torch_done,
    "define and compile": defined - begin,
    "first fit, beyond a later one": fits[0] - fits[2],
}))
"""


def main():
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rounds = []
    for _ in range(options.rounds):
        root = Path(__file__).parents[2]
        command = [sys.executable, "-c", SCRIPT]
        run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        rounds.append(json.loads(run.stdout))
    for name in rounds[0]:
        print(f"{name}: {statistics.median(r[name] for r in rounds):.3f} s")


if __name__ == "__main__":
    main()
