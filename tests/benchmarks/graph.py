"""What a graph costs: building a thousand layers, and calling them against plain torch.

    python tests/benchmarks/graph.py [--layers 1000] [--width 8] [--batch 4] [--rounds 31]

The same chain of dense layers is called as a functional model, as ``torch.nn.Sequential`` of the
``nn.Linear`` modules that such layers hold, and as ``nn.Sequential`` and a loop over ``nn.Linear``
modules made one after the other, in turns; printed are the medians and their ratios to the first
``nn.Sequential``, for inference and with gradients. Each way has modules of its own, since a
thousand of them just fill a core's cache: modules that another way just called are found there,
and those that lie close together miss it less (0.05 to 0.1 of the whole).
Building is timed on a chain of the same length and on one with a residual sum after each layer.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import nn

import torchkeras
from torchkeras import layers


def chain(count, width, residual=False):
    """A functional model of dense layers; ``residual`` adds each one's input to its output."""
    inputs = layers.Input((width,))
    x = inputs
    for _ in range(count):
        y = layers.Dense(width)(x)
        x = x + y if residual else y
    return torchkeras.Model(inputs, x)


def held(model):
    """The ``nn.Linear`` modules of a chain, made as its layers were."""
    return [layer.linear for layer in model.layers if isinstance(layer, layers.Dense)]


def linears(model):
    """New ``nn.Linear`` modules with the weights of a chain, made one after the other."""
    modules = []
    for inner in held(model):
        module = nn.Linear(inner.in_features, inner.out_features)
        module.load_state_dict(inner.state_dict())
        modules.append(module)
    return modules


def seconds_to_build(count, width, residual, times=3):
    """The median time of building a chain."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        chain(count, width, residual)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def medians(ways, rounds):
    """The median time of a call of each way, the ways taking turns."""
    taken = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def ways_to_call(model, x, backward):
    """Four functions of no arguments that compute the same."""
    modules = linears(model)
    twin = chain(len(modules), x.shape[1])
    twin.set_weights(model.get_weights())

    def loop(x):
        for module in modules:
            x = module(x)
        return x

    def calling(function):
        def infer():
            with torch.no_grad():
                return function(x)

        def learn():
            outputs = function(x)
            outputs.sum().backward()
            return outputs

        return learn if backward else infer

    ways = {
        "nn.Sequential of layers' modules": nn.Sequential(*held(twin)),
        "nn.Sequential of new modules": nn.Sequential(*linears(model)),
        "new modules, in a loop": loop,
        "functional model": model,
    }
    return {name: calling(way) for name, way in ways.items()}


def main():
    """Print the times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=1000)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for residual in (False, True):
        taken = seconds_to_build(options.layers, options.width, residual)
        what = "dense layers, each with a residual sum," if residual else "dense layers"
        print(f"building {options.layers} {what}: {taken:.2f} s")
    model = chain(options.layers, options.width)
    x = torch.rand(options.batch, options.width)
    for backward in (False, True):
        ways = ways_to_call(model, x, backward)
        outputs = [way() for way in ways.values()]
        assert all(torch.allclose(one, outputs[0], atol=1e-5) for one in outputs)
        taken = medians(ways, options.rounds)
        base = next(iter(taken.values()))
        print("forward and backward" if backward else "forward")
        for name, median in taken.items():
            print(f"  {name}: {median * 1e3:.2f} ms, {median / base:.3f} of the first")


if __name__ == "__main__":
    main()
