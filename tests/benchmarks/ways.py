"""How a workload is trained: by torchkeras' or Keras' fit, or by a loop in plain PyTorch."""

import ctypes
import importlib

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Fit:
    """Epochs by ``fit``.

    Args:
        work: the workload.
        lib: torchkeras or Keras.
        verbose: as ``fit`` takes it.
        compile_arguments: more for ``compile``.
    """

    def __init__(self, work, lib, verbose=0, **compile_arguments):
        self.model = work.model(lib, **compile_arguments)
        self.batch, self.verbose = work.batch, verbose
        self.x, self.y = work.arrays(lib)
        self.saved = None

    def fit(self, epochs, samples=None):
        """Train, on the first samples only where a number is given."""
        x, y = self.x[:samples], self.y[:samples]
        self.model.fit(x, y, epochs=epochs, batch_size=self.batch, verbose=self.verbose)

    def restore(self):
        """Go back to the weights, moments and step count of the first call.

        Without that the numbers of a long run shrink to denormals, which take longer.
        """
        if self.saved is None:
            weights = [np.array(value) for value in self.model.get_weights()]
            held = [(v, np.array(v.numpy())) for v in self.model.optimizer.variables]
            self.saved = weights, held
        weights, held = self.saved
        self.model.set_weights(weights)
        for variable, value in held:
            variable.assign(value)

    def report(self):
        """Say how torchkeras ran the steps; nothing for Keras."""
        report = getattr(self.model, "step_report", None)
        return "" if report is None else str(report())


class Loop:
    """Epochs by the loop that a PyTorch user writes, accuracy counted as he does.

    Args:
        work: the workload.
        loader: batches from a ``DataLoader``; otherwise indexed from the tensors in memory.
    """

    def __init__(self, work, loader=False):
        self.x, self.y, self.batch, self.binary = work.x, work.y, work.batch, work.classes == 1
        self.model = work.torch_model()
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.loss = nn.BCEWithLogitsLoss() if self.binary else nn.CrossEntropyLoss()
        self.loader = loader
        self.saved = None

    def batches(self, x, y):
        """Return an epoch's (x, y), shuffled."""
        if self.loader:
            return DataLoader(TensorDataset(x, y), batch_size=self.batch, shuffle=True)
        return ((x[rows], y[rows]) for rows in torch.randperm(len(x)).split(self.batch))

    def fit(self, epochs, samples=None):
        """Train, on the first samples only where a number is given."""
        x_all, y_all = self.x[:samples], self.y[:samples]
        self.model.train()
        for _ in range(epochs):
            total, right = torch.zeros(()), torch.zeros(())
            for x, y in self.batches(x_all, y_all):
                self.optimizer.zero_grad()
                outputs = self.model(x)
                loss = self.loss(outputs, y)
                loss.backward()
                self.optimizer.step()
                with torch.no_grad():
                    total += loss * len(x)
                    guess = outputs > 0 if self.binary else outputs.argmax(1)
                    right += (guess == y).sum()
            total.item(), right.item()

    def restore(self):
        """Go back to the weights, moments and step counts of the first call."""
        if self.saved is None:
            held = [*self.model.parameters()]
            held += [value for state in self.optimizer.state.values() for value in state.values()]
            self.saved = [(tensor, tensor.detach().clone()) for tensor in held]
        with torch.no_grad():
            for tensor, value in self.saved:
                tensor.copy_(value)

    def report(self):
        """Nothing to say."""
        return ""


def keep_memory():
    """Tell glibc's malloc to keep freed pages, as torchkeras does while it fits.

    The numbers are M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of ``malloc.h``.
    """
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in ((-4, 0), (-1, 2**31 - 1), (-2, 64 << 20)):
        if mallopt(parameter, value) != 1:
            raise OSError(f"mallopt({parameter}, {value}) was refused")


# name -> (title, kind, what it is made with)
STRONG, KEPT, KERAS = "strong", "kept", "keras"
WAYS = {
    "captured": ("torchkeras, captured", "torchkeras", {}),
    "eager": ("torchkeras, run_eagerly=True", "torchkeras", {"run_eagerly": True}),
    STRONG: ("PyTorch loop, tensors in memory, fused Adam (strong)", "loop", {}),
    KEPT: ("the same, malloc keeping memory", "loop", {}),
    "loader": ("PyTorch loop, DataLoader", "loop", {"loader": True}),
    KERAS: ("Keras 3 on torch", "keras", {}),
}


def maker(name):
    """Load what a way needs into this process, and return what makes it of a workload."""
    _, kind, arguments = WAYS[name]
    if name == KEPT:
        keep_memory()
    if kind == "loop":
        return lambda work: Loop(work, **arguments)
    lib = importlib.import_module(kind)
    return lambda work: Fit(work, lib, **arguments)
