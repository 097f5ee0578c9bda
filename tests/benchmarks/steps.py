"""How long a training step takes: torchkeras' fit, plain PyTorch loops, Keras 3.

    python tests/benchmarks/steps.py [--rounds 7] [--threads 2] [--keras]

Each way trains for whole epochs from the same restored weights, one after the other, round after
round; the table shows medians of microseconds a step, and ratios to the strong baseline: a plain
loop over tensors in memory with torch's fused Adam.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import torchkeras
from torchkeras import layers


class Workload:
    """A model in torchkeras' and in torch's own words, with data.

    Args:
        title: shown in the table.
        widths: of the dense layers, the input first.
        dropout: between the hidden layers.
        samples: rows of data.
        batch: samples a step.
        classes: 1 for sigmoid and binary crossentropy, else softmax and labels.
    """

    def __init__(self, title, widths, dropout, samples, batch, classes):
        self.title, self.widths, self.dropout = title, widths, dropout
        self.batch, self.classes = batch, classes
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(samples, widths[0], generator=generator)
        shape = (samples, 1) if classes == 1 else (samples,)
        self.y = torch.randint(0, max(classes, 2), shape, generator=generator)
        if classes == 1:
            self.y = self.y.float()
        self.steps = -(-samples // batch)

    def keras_layers(self, lib):
        """The layers, of torchkeras or Keras."""
        yield lib.layers.Input((self.widths[0],))
        for width in self.widths[1:]:
            yield lib.layers.Dense(width, activation="relu")
            if self.dropout:
                yield lib.layers.Dropout(self.dropout)
        activation = "sigmoid" if self.classes == 1 else "softmax"
        yield lib.layers.Dense(self.classes, activation=activation)

    def keras_model(self, lib, **compile_arguments):
        """A compiled model, of torchkeras or Keras."""
        model = lib.Sequential(list(self.keras_layers(lib)))
        loss = "binary_crossentropy" if self.classes == 1 else "sparse_categorical_crossentropy"
        model.compile("adam", loss, metrics=["accuracy"], **compile_arguments)
        return model

    def torch_model(self):
        """The same in torch, with logits, as a PyTorch user writes it."""
        parts = []
        for before, width in zip(self.widths, self.widths[1:]):
            parts += [nn.Linear(before, width), nn.ReLU()]
            if self.dropout:
                parts.append(nn.Dropout(self.dropout))
        return nn.Sequential(*parts, nn.Linear(self.widths[-1], self.classes))


WORKLOADS = [
    Workload("Pima 8-12-1, batch 10", [8, 12], 0, 768, 10, 1),
    Workload("ten layers of 64, batch 32", [64] * 11, 0, 3200, 32, 10),
    Workload("784-512-512-10, dropout, batch 128", [784, 512, 512], 0.2, 12800, 128, 10),
]


class Fit:
    """Epochs by ``fit``, of torchkeras or Keras."""

    def __init__(self, work, lib, verbose=0):
        self.model = work.keras_model(lib)
        self.work, self.verbose = work, verbose
        self.x, self.y = work.x.numpy(), work.y.numpy()
        self.fit(1)
        self.weights = self.model.get_weights()

    def fit(self, epochs):
        """Train."""
        self.model.fit(
            self.x, self.y, epochs=epochs, batch_size=self.work.batch, verbose=self.verbose
        )

    def restore(self):
        """Go back to the weights of the start, or the numbers shrink to denormals."""
        self.model.set_weights(self.weights)


class Loop:
    """Epochs by the loop that a PyTorch user writes, accuracy counted as he does."""

    def __init__(self, work, loader=False):
        self.work = work
        self.model = work.torch_model()
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.loss = nn.BCEWithLogitsLoss() if work.classes == 1 else nn.CrossEntropyLoss()
        self.loader = None
        if loader:
            data = TensorDataset(work.x, work.y)
            self.loader = DataLoader(data, batch_size=work.batch, shuffle=True)
        self.state = {name: value.clone() for name, value in self.model.state_dict().items()}

    def batches(self):
        """Yield (x, y)."""
        if self.loader is not None:
            yield from self.loader
            return
        for rows in torch.randperm(len(self.work.x)).split(self.work.batch):
            yield self.work.x[rows], self.work.y[rows]

    def fit(self, epochs):
        """Train."""
        self.model.train()
        for _ in range(epochs):
            total, right = torch.zeros(()), torch.zeros(())
            for x, y in self.batches():
                self.optimizer.zero_grad()
                outputs = self.model(x)
                loss = self.loss(outputs, y)
                loss.backward()
                self.optimizer.step()
                with torch.no_grad():
                    total += loss * len(x)
                    guess = outputs > 0 if self.work.classes == 1 else outputs.argmax(1)
                    right += (guess == y).sum()
            total.item(), right.item()

    def restore(self):
        """Go back to the weights of the start."""
        self.model.load_state_dict(self.state)


def measure(ways, steps, rounds, seconds=0.6):
    """Return, for each way, the median microseconds a step of interleaved runs."""
    times = {name: [] for name in ways}
    epochs = {}
    for name, way in ways.items():
        start = time.perf_counter()
        way.fit(1)
        epochs[name] = max(1, round(seconds / (time.perf_counter() - start)))
    for _ in range(rounds):
        for name, way in ways.items():
            way.restore()
            start = time.perf_counter()
            way.fit(epochs[name])
            times[name].append((time.perf_counter() - start) / (epochs[name] * steps) * 1e6)
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keras", action="store_true", help="also Keras 3 on torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    np.random.seed(0)
    print("| workload | way | us a step | ratio to the strong baseline |")
    print("| --- | --- | ---: | ---: |")
    for work in WORKLOADS:
        ways = {
            "torchkeras fit, verbose=0": Fit(work, torchkeras),
            "torchkeras fit, verbose=1": Fit(work, torchkeras, verbose=1),
            "PyTorch loop, tensors in memory, fused Adam": Loop(work),
            "PyTorch loop, DataLoader": Loop(work, loader=True),
        }
        if options.keras:
            import keras

            ways["Keras 3 on torch"] = Fit(work, keras)
        with open(os.devnull, "w") as null:
            import contextlib

            with contextlib.redirect_stdout(null):
                medians = measure(ways, work.steps, options.rounds)
        strong = medians["PyTorch loop, tensors in memory, fused Adam"]
        for name, value in medians.items():
            print(f"| {work.title} | {name} | {value:.0f} | {value / strong:.2f} |")


assert layers  # the public face is loaded before anything is timed

if __name__ == "__main__":
    main()
