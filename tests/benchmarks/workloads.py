"""What is trained: each workload in torchkeras', in Keras' and in torch's own words, with data."""

import functools

import torch
from torch import nn


class Workload:
    """A classifier and its data; a subclass says the layers and draws the inputs.

    Args:
        name: what ``--only`` takes.
        title: shown in the table.
        samples: rows of data.
        batch: samples a step.
        classes: 1 for sigmoid and binary crossentropy, else softmax and labels.
    """

    def __init__(self, name, title, samples, batch, classes):
        self.name, self.title = name, title
        self.samples, self.batch, self.classes = samples, batch, classes
        self.steps = -(-samples // batch)

    @functools.cached_property
    def x(self):
        """The inputs as torch's layers take them, the same in every process."""
        return self.draw(torch.Generator().manual_seed(0))

    @functools.cached_property
    def y(self):
        """The targets: ``(samples, 1)`` of 0 and 1 in float32, or ``(samples,)`` labels."""
        generator = torch.Generator().manual_seed(1)
        if self.classes == 1:
            return torch.randint(0, 2, (self.samples, 1), generator=generator).float()
        return torch.randint(0, self.classes, (self.samples,), generator=generator)

    def arrays(self, lib):
        """The data as numpy arrays in the layout of ``model(lib)``."""
        return self.x.numpy(), self.y.numpy()

    def model(self, lib, **compile_arguments):
        """A compiled model, of torchkeras or Keras."""
        activation = "sigmoid" if self.classes == 1 else "softmax"
        last = lib.layers.Dense(self.classes, activation=activation)
        model = lib.Sequential([*self.layers(lib), last])
        loss = "binary_crossentropy" if self.classes == 1 else "sparse_categorical_crossentropy"
        model.compile("adam", loss, metrics=["accuracy"], **compile_arguments)
        return model

    def torch_model(self):
        """The same in torch, with logits, as a PyTorch user writes it."""
        modules = list(self.modules())
        return nn.Sequential(*modules, nn.Linear(self.features, self.classes))

    # features: width of what enters the last layer. Then, for a subclass to write:

    def draw(self, generator):
        """Inputs ``(samples, …)``."""
        raise NotImplementedError

    def layers(self, lib):
        """All layers but the last, of torchkeras or Keras."""
        raise NotImplementedError

    def modules(self):
        """All torch modules but the last."""
        raise NotImplementedError


class DenseNet(Workload):
    """Dense layers with ReLU, and dropout between them.

    Args:
        widths: of the layers, the input first, without the last layer.
        dropout: the part dropped after each layer.
        facts: the arguments of :class:`Workload`.
    """

    def __init__(self, widths, dropout=0, **facts):
        super().__init__(**facts)
        self.widths, self.dropout, self.features = widths, dropout, widths[-1]

    def draw(self, generator):
        """Inputs ``(samples, widths[0])``."""
        return torch.randn(self.samples, self.widths[0], generator=generator)

    def layers(self, lib):
        """Dense and Dropout."""
        yield lib.layers.Input((self.widths[0],))
        for width in self.widths[1:]:
            yield lib.layers.Dense(width, activation="relu")
            if self.dropout:
                yield lib.layers.Dropout(self.dropout)

    def modules(self):
        """Linear, ReLU and Dropout."""
        for before, width in zip(self.widths, self.widths[1:]):
            yield nn.Linear(before, width)
            yield nn.ReLU()
            if self.dropout:
                yield nn.Dropout(self.dropout)


class ConvolutionalNet(Workload):
    """Two convolutions, pooling and a dense layer on images of 28x28 and one channel.

    torchkeras wraps torch's convolutions here, with the channels in front; see
    :class:`LayeredNet` for its own.
    """

    features = 128

    def draw(self, generator):
        """Inputs ``(samples, 1, 28, 28)``."""
        return torch.rand(self.samples, 1, 28, 28, generator=generator)

    def arrays(self, lib):
        """The data, with the channels last for Keras."""
        x, y = super().arrays(lib)
        return (x if wraps_torch(lib) else x.reshape(self.samples, 28, 28, 1)), y

    def layers(self, lib):
        """Keras' layers, or torch's convolutions in wrappers."""
        kit = lib.layers
        if wraps_torch(lib):
            yield kit.Input((1, 28, 28))
            yield from map(kit.TorchModuleWrapper, self.convolutions())
        else:
            yield kit.Input((28, 28, 1))
            yield kit.Conv2D(32, 3, activation="relu")
            yield kit.Conv2D(64, 3, activation="relu")
            yield kit.MaxPooling2D(2)
        yield kit.Dropout(0.25)
        yield kit.Flatten()
        yield kit.Dense(128, activation="relu")
        yield kit.Dropout(0.5)

    def modules(self):
        """torch's modules."""
        yield from self.convolutions()
        yield from (nn.Dropout(0.25), nn.Flatten(), nn.Linear(64 * 12 * 12, 128), nn.ReLU())
        yield nn.Dropout(0.5)

    def convolutions(self):
        """What torchkeras takes from torch."""
        return nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)


class LayeredNet(ConvolutionalNet):
    """The same of torchkeras' own layers, the channels last; the loops keep torch's order."""

    def arrays(self, lib):
        """The data, with the channels last."""
        x, y = Workload.arrays(self, lib)
        return x.reshape(self.samples, 28, 28, 1), y

    def layers(self, lib):
        """Keras' layers."""
        kit = lib.layers
        yield kit.Input((28, 28, 1))
        yield kit.Conv2D(32, 3, activation="relu")
        yield kit.Conv2D(64, 3, activation="relu")
        yield kit.MaxPooling2D(2)
        yield kit.Dropout(0.25)
        yield kit.Flatten()
        yield kit.Dense(128, activation="relu")
        yield kit.Dropout(0.5)


class LastOutput(nn.Module):
    """Embedding and LSTM: ``(batch, length)`` tokens to the last output ``(batch, units)``."""

    def __init__(self, tokens, width, units):
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.lstm = nn.LSTM(width, units, batch_first=True)

    def forward(self, tokens):
        """Return the output of the last step."""
        return self.lstm(self.embedding(tokens))[0][:, -1]


class RecurrentNet(Workload):
    """An LSTM of 100 units on 100 tokens of 5000, embedded in 32 dimensions.

    torchkeras has neither layer yet: a torch module does both in a wrapper.
    """

    features = 100

    def draw(self, generator):
        """Inputs ``(samples, 100)``, int64."""
        return torch.randint(1, 5000, (self.samples, 100), generator=generator)

    def layers(self, lib):
        """Keras' layers, or torch's in a wrapper."""
        yield lib.layers.Input((100,), dtype="int64")
        if wraps_torch(lib):
            yield lib.layers.TorchModuleWrapper(LastOutput(5000, 32, 100))
        else:
            yield lib.layers.Embedding(5000, 32)
            yield lib.layers.LSTM(100)

    def modules(self):
        """torch's modules."""
        yield LastOutput(5000, 32, 100)


def wraps_torch(lib):
    """Tell whether the layers that torchkeras lacks are needed as wrapped torch modules."""
    return lib.__name__ == "torchkeras"


WORKLOADS = [
    DenseNet(
        [8, 12],
        name="pima",
        title="Pima 8-12-1, batch 10",
        samples=768,
        batch=10,
        classes=1,
    ),
    DenseNet(
        [64] * 11,
        name="deep",
        title="ten layers of 64, batch 32",
        samples=3200,
        batch=32,
        classes=10,
    ),
    DenseNet(
        [784, 512, 512],
        dropout=0.2,
        name="mlp",
        title="784-512-512-10, dropout, batch 128",
        samples=12800,
        batch=128,
        classes=10,
    ),
    ConvolutionalNet(
        name="cnn",
        title="CNN 28x28, batch 128",
        samples=1280,
        batch=128,
        classes=10,
    ),
    LayeredNet(
        name="conv2d",
        title="CNN 28x28 of Conv2D layers, batch 128",
        samples=1280,
        batch=128,
        classes=10,
    ),
    RecurrentNet(
        name="lstm",
        title="LSTM 100 steps, batch 64",
        samples=640,
        batch=64,
        classes=1,
    ),
]
