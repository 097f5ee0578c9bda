"""How long a training step of one layer takes: torchkeras' fit against a loop in plain PyTorch.

    python tests/benchmarks/layers.py [--threads 2] [--rounds 7] [--only NAME …] [--keras]

The model is the layer and a dense layer on it; the loop has torch's module in its place, tensors in
memory and fused Adam (see ways.py). Both are in one process, where fit has told malloc to keep
memory, and take turns, whole epochs each from the same restored weights; a cell is the median of
the rounds, the ratio the median of the ratios within a round.
"""

import argparse
import importlib
import statistics
import sys
import time

import torch
from torch import nn
from ways import Fit, Loop
from workloads import Workload


class Recurrent(Workload):
    """A recurrent layer on random sequences, or on embedded tokens.

    Args:
        kind: ``LSTM``, ``GRU`` or ``SimpleRNN``.
        units: of the layer.
        steps: of a sequence.
        width: features of a step, or of an embedding.
        tokens: how many are embedded; none without embedding.
        masked: whether sequences are padded on the right and masked; the loop packs them.
        facts: the arguments of :class:`Workload`.
    """

    def __init__(self, kind, units, steps, width, tokens=0, masked=False, **facts):
        super().__init__(classes=1, **facts)
        self.kind, self.units, self.length, self.width = kind, units, steps, width
        self.tokens, self.masked, self.features = tokens, masked, units

    def draw(self, generator):
        """Inputs ``(samples, steps, width)``, or tokens ``(samples, steps)``."""
        if not self.tokens:
            return torch.randn(self.samples, self.length, self.width, generator=generator)
        tokens = torch.randint(1, self.tokens, (self.samples, self.length), generator=generator)
        lengths = torch.randint(1, self.length + 1, (self.samples, 1), generator=generator)
        return tokens * (torch.arange(self.length) < lengths) if self.masked else tokens

    def layers(self, lib):
        """The layer, behind an embedding where there is one."""
        shape = (self.length,) if self.tokens else (self.length, self.width)
        yield lib.layers.Input(shape, dtype="int64" if self.tokens else None)
        if self.tokens:
            yield lib.layers.Embedding(self.tokens, self.width, mask_zero=self.masked)
        yield getattr(lib.layers, self.kind)(self.units)

    def modules(self):
        """torch's module."""
        yield LastOutput(self)


class LastOutput(nn.Module):
    """torch's recurrent module, and an embedding before it; gives the last output."""

    def __init__(self, work):
        super().__init__()
        self.embedding = nn.Embedding(work.tokens, work.width) if work.tokens else None
        kind = {"LSTM": nn.LSTM, "GRU": nn.GRU, "SimpleRNN": nn.RNN}[work.kind]
        self.recurrent = kind(work.width, work.units, batch_first=True)
        self.masked = work.masked

    def forward(self, inputs):
        """Return ``(batch, units)``."""
        embedded = inputs if self.embedding is None else self.embedding(inputs)
        if not self.masked:
            return self.recurrent(embedded)[0][:, -1]
        lengths = (inputs != 0).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(
            embedded, lengths, batch_first=True, enforce_sorted=False
        )
        last = self.recurrent(packed)[1]
        return (last[0] if isinstance(last, tuple) else last)[-1]


class Convolved(Workload):
    """Two convolutions of one kind on images, then the mean of each channel.

    Channels are last for torchkeras and Keras; torch's modules and images are in the channels-last
    memory format.

    Args:
        kind: ``Conv2D`` or ``DepthwiseConv2D``.
        size: of the images' sides.
        channels: of the images, and of what comes out.
        facts: the arguments of :class:`Workload`.
    """

    def __init__(self, kind, size, channels, **facts):
        super().__init__(classes=1, **facts)
        self.kind, self.size, self.features = kind, size, channels

    def draw(self, generator):
        """Images ``(samples, channels, size, size)``, the channels last in memory."""
        shape = (self.samples, self.size, self.size, self.features)
        return torch.randn(shape, generator=generator).permute(0, 3, 1, 2)

    def arrays(self, lib):
        """The data, with the channels last."""
        return self.x.permute(0, 2, 3, 1).numpy(), self.y.numpy()

    def layers(self, lib):
        """The layers, and a pooling."""
        yield lib.layers.Input((self.size, self.size, self.features))
        filters = () if self.kind == "DepthwiseConv2D" else (self.features,)
        for _ in range(2):
            layer = getattr(lib.layers, self.kind)
            yield layer(*filters, 3, padding="same", activation="relu")
        yield lib.layers.GlobalAveragePooling2D()

    def modules(self):
        """torch's modules."""
        groups = self.features if self.kind == "DepthwiseConv2D" else 1
        for _ in range(2):
            module = nn.Conv2d(self.features, self.features, 3, padding=1, groups=groups)
            yield module.to(memory_format=torch.channels_last)
            yield nn.ReLU()
        yield from (nn.AdaptiveAvgPool2d(1), nn.Flatten())


BIG = {"units": 100, "steps": 100, "width": 100, "samples": 320, "batch": 64}
SMALL = {"units": 32, "steps": 30, "width": 16, "samples": 640, "batch": 32}
IMAGES = {"size": 32, "channels": 32, "samples": 320, "batch": 32}
FEW = {"size": 12, "channels": 16, "samples": 320, "batch": 16}
EMBEDDED = {"units": 100, "steps": 100, "width": 32, "tokens": 5000, "samples": 1280, "batch": 64}

ROWS = [
    Recurrent("LSTM", name="lstm", title="LSTM(100), 100 steps, batch 64", **BIG),
    Recurrent("LSTM", name="lstm-small", title="LSTM(32), 30 steps, batch 32", **SMALL),
    Recurrent("GRU", name="gru", title="GRU(100), 100 steps, batch 64", **BIG),
    Recurrent("GRU", name="gru-small", title="GRU(32), 30 steps, batch 32", **SMALL),
    Recurrent("SimpleRNN", name="rnn-small", title="SimpleRNN(32), 30 steps, batch 32", **SMALL),
    Recurrent("LSTM", name="embedding+lstm", title="Embedding, LSTM(100), 100 steps", **EMBEDDED),
    Recurrent(
        "LSTM",
        masked=True,
        name="masked-lstm",
        title="Embedding with mask_zero, LSTM(100); packed",
        **EMBEDDED,
    ),
    Recurrent(
        "GRU",
        masked=True,
        name="masked-gru",
        title="Embedding with mask_zero, GRU(100); packed",
        **EMBEDDED,
    ),
    Convolved("Conv2D", name="conv2d", title="Conv2D 32 to 32, 32x32, batch 32", **IMAGES),
    Convolved("Conv2D", name="conv2d-small", title="Conv2D 16 to 16, 12x12, batch 16", **FEW),
    Convolved(
        "DepthwiseConv2D", name="depthwise", title="DepthwiseConv2D 32, 32x32, batch 32", **IMAGES
    ),
    Convolved("DepthwiseConv2D", name="depthwise-small", title="DepthwiseConv2D 16, 12x12", **FEW),
]


def measure(work, libs, rounds):
    """Return for each library the milliseconds a step of each round; the loop is the last."""
    ways = [Fit(work, importlib.import_module(lib)) for lib in libs] + [Loop(work)]
    found = [[] for _ in ways]
    for way in ways:
        way.fit(2)
        way.restore()
    order = list(range(len(ways)))
    for _ in range(rounds):
        for index in order:
            ways[index].restore()
            start = time.perf_counter()
            ways[index].fit(1)
            found[index].append((time.perf_counter() - start) * 1e3 / work.steps)
        order.reverse()
    print(f"{work.title}: {ways[0].report()}", file=sys.stderr, flush=True)
    return found


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keras", action="store_true", help="also Keras 3 on torch")
    names = [work.name for work in ROWS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    libs = ["torchkeras", *(["keras"] if options.keras else [])]
    print(f"| layer | PyTorch, ms |{''.join(f' {lib}, ms | ratio |' for lib in libs)}")
    print(f"| --- | ---: |{' ---: | ---: |' * len(libs)}", flush=True)
    for work in ROWS:
        if work.name in options.only:
            *ours, loop = measure(work, libs, options.rounds)
            cells = [work.title, f"{statistics.median(loop):.2f}"]
            for times in ours:
                ratio = statistics.median(mine / other for mine, other in zip(times, loop))
                cells += [f"{statistics.median(times):.2f}", f"{ratio:.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
