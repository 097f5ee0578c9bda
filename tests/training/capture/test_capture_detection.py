"""What a captured step cannot replay is found, and the step stays eager, with the same numbers."""

import builtins
import collections
import contextvars
import ctypes
import functools
import itertools
import multiprocessing
import random
import sys
import threading
import time
import types
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import torchkeras as keras
from torchkeras import layers
from torchkeras.training.capture.record import SWITCHED, record


class Do(layers.Layer):
    """A layer of the user's that does what a test wants."""

    def __init__(self, function, **attributes):
        super().__init__()
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def call(self, inputs):
        return self.function(self, inputs)


class At(keras.callbacks.Callback):
    """Calls ``function(model, epoch)`` at the end of each epoch."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def on_epoch_end(self, epoch, logs=None):
        self.function(self.model, epoch)


class AtBatch(keras.callbacks.Callback):
    """Calls ``function(model, batch)`` after each batch."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def on_train_batch_end(self, batch, logs=None):
        self.function(self.model, batch)


def setup(*middle, loss="mse", optimizer="sgd", callbacks=(), metrics=("mae",)):
    """Describe a run: layers between two dense ones, and what compile and fit take."""
    return types.SimpleNamespace(
        middle=middle,
        loss=loss,
        optimizer=optimizer,
        callbacks=list(callbacks),
        metrics=list(metrics),
    )


def doing(function, **attributes):
    return setup(Do(function, **attributes))


def data(samples=40):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, 4)).astype("float32")
    return x, rng.normal(size=(samples, 3)).astype("float32")


LABELS = np.random.default_rng(0).integers(0, 3, 40)


def run(make, run_eagerly, epochs=4, samples=40, fits=1, y=None):
    keras.utils.set_random_seed(0)
    plan = make()
    model = keras.Sequential([layers.Input((4,)), layers.Dense(5), *plan.middle, layers.Dense(3)])
    model.compile(plan.optimizer, plan.loss, metrics=plan.metrics, run_eagerly=run_eagerly)
    keras.utils.set_random_seed(1)
    x, targets = data(samples)
    targets = targets if y is None else y
    histories = []
    for _ in range(fits):
        fitted = model.fit(
            x, targets, batch_size=8, epochs=epochs, verbose=0, callbacks=plan.callbacks
        )
        histories += fitted.history.values()
    scores = model.evaluate(x, targets, batch_size=8, verbose=0)
    outputs = model.predict(x, batch_size=8, verbose=0)
    numbers = [*histories, scores, outputs, *model.get_weights(), *model.optimizer.get_weights()]
    return model, numbers


def compare(make, **settings):
    """Train captured and eager; the numbers must be equal. Return the captured run's report."""
    captured, numbers = run(make, False, **settings)
    eager, expected = run(make, True, **settings)
    for number, wanted in zip(numbers, expected, strict=True):
        np.testing.assert_allclose(number, wanted, rtol=1e-6, atol=1e-6)
    assert eager.step_report().kind == "eager"
    return captured.step_report()


def stays_eager(make, reason, **settings):
    report = compare(make, **settings)
    assert report.kind == "eager", report
    assert reason in report.reason, report.reason


def is_captured(make, **settings):
    report = compare(make, **settings)
    assert report.kind == "captured", report


# ----------------------------------------------------------------------- values read by Python


def item(layer, x):
    return x * x.mean().item()


def branch(layer, x):
    return x * 2 if x.mean() > 0 else x


def as_float(layer, x):
    return x * float(x.detach().abs().mean())


def as_index(layer, x):
    return x * [0.5, 1.0, 1.5, 2.0, 2.5][x[0].argmax()]


def sizes_from_values(layer, x):
    return x * len(torch.nonzero(x > 0)) / x.numel()


def unique(layer, x):
    return x * len(torch.unique((x > 0).int()))


def boolean_index(layer, x):
    return x * x[x > 0].mean()


def one_argument_where(layer, x):
    return x * torch.where(x > 0)[0].float().mean()


def repeats(layer, x):
    counts = (x[:, 0] > 0).long()
    return x * torch.repeat_interleave(x[:, 0], counts, output_size=None).mean()


def equal(layer, x):
    return x * 2 if torch.equal(x, x.abs()) else x


def allclose(layer, x):
    return x * 2 if torch.allclose(x, x.abs()) else x


def formatted(layer, x):
    return x * float(f"{x.mean():.3f}")


def contains(layer, x):
    return x * 2 if 0.0 in x else x


def split_by_tensor(layer, x):
    at = (x[:, 0] > 0).sum().reshape(1)
    first, second = torch.tensor_split(x, at)
    return torch.cat([first, second * 2])


def packed(layer, x):
    lengths = 1 + (x[:, 0] > 0).long()
    rows = torch.stack([x, x], 1)
    packed = nn.utils.rnn.pack_padded_sequence(rows, lengths, True, enforce_sorted=False)
    return x * packed.data.mean()


READS = [
    item,
    branch,
    as_float,
    as_index,
    sizes_from_values,
    unique,
    boolean_index,
    one_argument_where,
    repeats,
    equal,
    allclose,
    formatted,
    contains,
    split_by_tensor,
    packed,
]


def numpy_of(layer, x):
    return x * float(x.detach().numpy().mean())


def array_of(layer, x):
    return x * float(np.asarray(x.detach()).mean())


def list_of(layer, x):
    return x * sum(x.detach()[0].tolist())


def dlpack_of(layer, x):
    return x * float(np.from_dlpack(x.detach()).mean())


def old_dlpack_of(layer, x):
    capsule = torch.utils.dlpack.to_dlpack(x.detach())
    return x * torch.utils.dlpack.from_dlpack(capsule).clone().mean()


def address_of(layer, x):
    return x + (x.data_ptr() > 0)


def storage_of(layer, x):
    return x * x.detach().untyped_storage().nbytes() / 1000


def copied(layer, x):
    import copy

    return x * copy.deepcopy(x.detach()).mean()


HANDED = [numpy_of, array_of, list_of, dlpack_of, old_dlpack_of, address_of, storage_of, copied]


@pytest.mark.parametrize("function", READS, ids=lambda f: f.__name__)
def test_values_that_python_reads(function):
    report = compare(lambda: doing(function))
    assert report.kind == "eager"
    assert "value" in report.reason or "tensor_split" in report.reason or "shape" in report.reason


@pytest.mark.parametrize("function", HANDED, ids=lambda f: f.__name__)
def test_tensors_handed_to_python(function):
    stays_eager(lambda: doing(function), "hands a tensor to Python")


@pytest.mark.parametrize("function", [item, numpy_of, branch], ids=lambda f: f.__name__)
def test_values_that_a_loss_reads(function):
    def loss(y_true, y_pred):
        return function(None, (y_true - y_pred) ** 2).mean()

    def make():
        return setup(loss=loss)

    x, y = data()
    if function is numpy_of:  # a loss that numpy weighs
        make = lambda: setup(loss=lambda t, p: ((t - p) ** 2).mean() * float(t.numpy().mean() + 2))  # noqa: E731
    report = compare(make)
    assert report.kind == "eager"


# ---------------------------------------------------------------------- Python's state changes


def test_a_counter_in_a_tensor():
    def count(layer, x):
        layer.steps += 1
        return x * torch.tensor(1 / layer.steps)

    stays_eager(lambda: doing(count, steps=0), "changes settings")


def test_a_counter_in_an_attribute():
    def count(layer, x):
        layer.steps += 1
        return x * (1 + layer.steps / 100)

    stays_eager(lambda: doing(count, steps=0), "changes settings")


def test_a_counter_that_counts_up_to_a_branch():
    def count(layer, x):
        layer.steps += 1
        return x * 3 if layer.steps > 12 else x

    stays_eager(lambda: doing(count, steps=0), "changes settings")


def test_a_counter_in_a_closure():
    def make():
        steps = 0

        def count(layer, x):
            nonlocal steps
            steps += 1
            return x * 3 if steps > 12 else x

        return doing(count)

    stays_eager(make, "changes settings")


COUNT = 0


def test_a_counter_in_a_global():
    def count(layer, x):
        global COUNT
        COUNT += 1
        return x * 3 if COUNT > 12 else x

    def make():
        global COUNT
        COUNT = 0
        return doing(count)

    stays_eager(make, "changes settings")


class Counter:
    total = 0

    def __init__(self):
        self.inner = types.SimpleNamespace(deep={"list": [[0]]})
        self.own = 0

    def next(self):
        self.inner.deep["list"][0][0] += 1
        return self.inner.deep["list"][0][0]

    def shared(self):
        Counter.total += 1
        return Counter.total

    def __call__(self):
        self.own += 1
        return self.own


class Slotted:
    __slots__ = ("count",)

    def __init__(self):
        self.count = 0

    def next(self):
        self.count += 1
        return self.count


class Derived(Counter):
    """Its state is its base's."""


class DerivedList(list):
    """A list with an attribute."""

    steps = 0


class DerivedFloat(float):
    """A number with an attribute."""


class Descriptor:
    """Keeps the values of its owners to itself."""

    def __init__(self):
        self.values = weakref.WeakKeyDictionary()

    def __get__(self, owner, cls):
        return self.values.get(owner, 0)

    def __set__(self, owner, value):
        self.values[owner] = value


class Described:
    steps = Descriptor()


def by_attribute(thing):
    thing.steps = getattr(thing, "steps", 0) + 1
    return thing.steps


def by_deep_objects(things):
    for thing in things:
        by_attribute(thing)
    return things[0].steps


def dispatching():
    @functools.singledispatch
    def count(thing):
        count.calls = getattr(count, "calls", 0) + 1
        return count.calls

    return count


def decorated():
    calls = [0]

    @functools.wraps(torch.relu)
    def count():
        return increased(calls)

    return count


def thread_local():
    return threading.local()


VARIABLE = contextvars.ContextVar("steps")


def by_context(variable):
    variable.set(variable.get() + 1)
    return variable.get()


def a_context():
    VARIABLE.set(0)
    return VARIABLE


def times(value, x):
    return x * 3 if value > 12 else x


def increased(box):
    box[0] += 1
    return box[0]


def popped(queue):
    queue.popleft()
    return 40 - len(queue)


def appended(log):
    log.append(1)
    return len(log)


def with_array(array):
    array[0] += 1
    return float(array[0])


def with_function(function):
    function.calls = getattr(function, "calls", 0) + 1
    return function.calls


def with_default(start=[0]):  # noqa: B006
    start[0] += 1
    return start[0]


KEPT = Counter()


def fresh_default():
    with_default.__defaults__[0][0] = 0


def with_module(module):
    module.steps += 1
    return module.steps


def a_module():
    module = types.ModuleType("settings_of_a_user")
    module.steps = 0
    return module


def with_dictionary(table):
    table["steps"] = table.get("steps", 0) + 1
    return table["steps"]


def with_set(found):
    found.add(len(found))
    return len(found)


def with_counter(table):
    table["steps"] += 1
    return table["steps"]


def with_bytes(buffer):
    buffer[0] += 1
    return buffer[0]


PLACES = {
    "list": (lambda: [0], increased),
    "nested list": (lambda: [[[[0]]]], lambda box: increased(box[0][0][0])),
    "object": (Counter, lambda c: c.next()),
    "class": (Counter, lambda c: c.shared()),
    "base class": (Derived, lambda c: c.shared()),
    "callable object": (Counter, lambda c: c()),
    "partial": (lambda: functools.partial(increased, [0]), lambda p: p()),
    "slots": (Slotted, lambda s: s.next()),
    "bound method": (lambda: Slotted().next, lambda method: method()),
    "deque": (lambda: collections.deque(range(40)), popped),
    "log": (list, appended),
    "array": (lambda: np.zeros(3), with_array),
    "object array": (lambda: np.array([[0]], dtype=object), lambda a: increased(a[0])),
    "function": (lambda: lambda: 0, with_function),
    "dictionary": (dict, with_dictionary),
    "counter": (collections.Counter, with_counter),
    "set": (set, with_set),
    "bytes": (lambda: bytearray(3), with_bytes),
    "module": (a_module, with_module),
    "tuple": (lambda: ([0],), lambda box: increased(box[0])),
    "list with attributes": (DerivedList, by_attribute),
    "number with attributes": (DerivedFloat, by_attribute),
    "descriptor": (Described, by_attribute),
    "many objects": (lambda: [types.SimpleNamespace() for _ in range(300)], by_deep_objects),
    "objects in a set": (lambda: {Slotted()}, lambda found: [*found][0].next()),
    "dispatch": (dispatching, lambda count: count(1)),
    "decorated": (decorated, lambda count: count()),
    "thread": (thread_local, by_attribute),
    "weak": (lambda: weakref.ref(KEPT), lambda ref: by_attribute(ref())),
    "ctypes": (lambda: ctypes.c_int(0), lambda c: setattr(c, "value", c.value + 1) or c.value),
    "decimal array": (lambda: np.zeros(2, dtype="f8"), with_array),
    "long list": (lambda: [0] * 1000, increased),
    "user dictionary": (collections.UserDict, with_dictionary),
    "named": (
        lambda: types.SimpleNamespace(count=0),
        lambda n: increased(n.__dict__.setdefault("b", [0])),
    ),
}


def test_a_counter_in_memory_that_processes_share():
    def step(layer, x):
        layer.held["count"].value += 1
        return times(layer.held["count"].value, x)

    def make():
        return doing(step, held=types.MappingProxyType({"count": multiprocessing.Value("i", 0)}))

    report = compare(make)
    assert report.kind == "eager"


def test_a_counter_in_a_context_variable():
    def make():
        variable = a_context()
        return doing(lambda layer, x: times(by_context(variable), x))

    report = compare(make)
    assert report.kind == "eager"


@pytest.mark.parametrize("module", [sys, builtins, torch], ids=lambda m: m.__name__)
def test_a_counter_in_a_module_of_a_library(module, monkeypatch):
    def step(layer, x):
        sys, builtins, torch  # noqa: B018
        return times(by_attribute(module), x)

    def make():
        monkeypatch.setattr(module, "steps", 0, raising=False)
        return doing(step)

    stays_eager(make, "changes settings")


def test_a_counter_in_a_metaclass():
    def make():
        class Meta(type):
            steps = 0

        class Counting(metaclass=Meta):
            pass

        return doing(lambda layer, x: times(by_attribute(type(Counting)), x))

    stays_eager(make, "changes settings")


@pytest.mark.parametrize("name", ["history", "log", "kernel_initializer"])
def test_a_log_in_a_layer_under_any_name(name):
    class Logging(layers.Layer):
        def __init__(self):
            super().__init__()
            setattr(self, name, types.SimpleNamespace(log=[]))

        def call(self, inputs):
            return times(appended(getattr(self, name).log), inputs)

    stays_eager(lambda: setup(Logging()), "changes settings")


def test_a_call_of_a_class_of_torchkeras_that_was_replaced(monkeypatch):
    def call(self, inputs):
        calls[0] += 1
        return times(calls[0], inputs)

    calls = [0]
    monkeypatch.setattr(layers.Activation, "call", call)

    def make():
        calls[0] = 0
        return setup(layers.Activation("relu"))

    stays_eager(make, "changes settings")


@pytest.mark.parametrize("place", PLACES)
def test_counters_wherever_they_are(place):
    make_place, count = PLACES[place]

    def make():
        Counter.total = 0
        KEPT.steps = 0
        box = make_place()
        held = types.SimpleNamespace(box=box)  # in an object, in a closure

        def step(layer, x):
            return times(count(held.box), x)

        return doing(step)

    stays_eager(make, "changes settings")


def test_a_counter_in_a_default_argument():
    def make():
        fresh_default()
        return doing(lambda layer, x: times(with_default(), x))

    stays_eager(make, "changes settings")


def test_a_counter_in_a_module_that_is_imported_in_the_call(monkeypatch):
    def step(layer, x):
        import settings_of_a_user

        return times(with_module(settings_of_a_user), x)

    def make():
        monkeypatch.setitem(sys.modules, "settings_of_a_user", a_module())
        return doing(step)

    stays_eager(make, "changes settings")


def test_a_counter_behind_a_name_in_quotes():
    def step(layer, x):
        globals()["COUNT"] += 1
        return times(globals()["COUNT"], x)

    def make():
        global COUNT
        COUNT = 0
        return doing(step)

    stays_eager(make, "changes settings")


def test_a_counter_in_a_module_outside_of_the_model():
    class Outside(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = 0

        def forward(self, x):
            self.steps += 1
            return times(self.steps, x)

    def make():
        outside = Outside()
        return setup(loss=lambda t, p: ((t - outside(p)) ** 2).mean())

    stays_eager(make, "changes settings")


@pytest.mark.parametrize(
    "iterator",
    [
        itertools.count,
        lambda: itertools.cycle([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 50, 60]),
        lambda: iter(range(1000)),
        lambda: (number for number in range(1000)),
        lambda: enumerate(range(1000)),
    ],
    ids=["count", "cycle", "range", "generator", "enumerate"],
)
@pytest.mark.parametrize("by", ["next", "for", "zip"])
def test_iterators(iterator, by):
    def step(layer, x):
        if by == "next":
            value = next(layer.held["iterator"])
        elif by == "zip":
            value = list(zip([0], layer.held["iterator"]))[0][1]
        else:
            for value in layer.held["iterator"]:  # noqa: B007
                break
        value = value[0] if isinstance(value, tuple) else value
        return times(value, x)

    report = compare(lambda: doing(step, held=types.MappingProxyType({"iterator": iterator()})))
    assert report.kind == "eager", report


def test_time():
    stays_eager(lambda: doing(lambda layer, x: x + 0 * time.time()), "the clock")


def test_date():
    import datetime

    stays_eager(lambda: doing(lambda layer, x: x + 0 * datetime.datetime.now().year), "the clock")


def test_environment_files_and_threads(tmp_path):
    path = tmp_path / "weight.txt"
    path.write_text("0.5")
    stays_eager(lambda: doing(lambda layer, x: x * float(path.read_text())), "the step uses")

    def by_thread(layer, x):
        found = []
        thread = threading.Thread(target=lambda: found.append(x * 2))
        thread.start()
        thread.join()
        return found[0]

    report = compare(lambda: doing(by_thread))
    assert report.kind == "eager"


def test_print_prints_at_each_step(capsys):
    def step(layer, x):
        print("step")
        return x

    model, _ = run(lambda: doing(step), False, epochs=2)
    printed = capsys.readouterr().out.count("step")
    run(lambda: doing(step), True, epochs=2)
    assert printed == capsys.readouterr().out.count("step")
    assert "the screen" in model.step_report().reason


@pytest.mark.parametrize(
    "draw",
    [
        lambda: np.random.rand(),
        lambda: random.random(),
        lambda: random.gauss(0, 1),
        lambda: float(np.random.normal()),
    ],
    ids=["numpy", "random", "gauss", "normal"],
)
def test_global_random_numbers(draw):
    stays_eager(lambda: doing(lambda layer, x: x * (1 + draw())), "random numbers")


@pytest.mark.parametrize(
    ("make_source", "draw"),
    [
        (lambda: np.random.default_rng(3), lambda source: source.random()),
        (lambda: np.random.RandomState(3), lambda source: source.rand()),
        (lambda: random.Random(3), lambda source: source.random()),
        (lambda: random.Random(3).random, lambda source: source()),
        (lambda: np.random.default_rng(3).random, lambda source: source()),
    ],
    ids=["Generator", "RandomState", "Random", "method of Random", "method of Generator"],
)
def test_random_objects(make_source, draw):
    def make():
        source = make_source()
        return doing(lambda layer, x: x * (1 + draw(source)))

    report = compare(make)
    assert report.kind == "eager", report


def test_stochastic_depth():
    class StochasticDepth(layers.Layer):
        def call(self, inputs, training=False):
            if training and random.random() < 0.5:
                return inputs
            return torch.relu(inputs) + inputs

    stays_eager(lambda: setup(StochasticDepth()), "random numbers", epochs=6)


def test_state_rebound_in_the_step():
    def average(layer, x):
        layer.mean = 0.9 * layer.mean + 0.1 * x.detach().mean()
        return x - layer.mean

    stays_eager(lambda: doing(average, mean=torch.zeros(())), "settings or replaces tensors")


def test_a_buffer_rebound_in_the_step():
    class Average(layers.Layer):
        def build(self, input_shape):
            self.register_buffer("mean", torch.zeros(()))

        def call(self, inputs):
            self.mean = 0.9 * self.mean + 0.1 * inputs.detach().mean()
            return inputs - self.mean

    stays_eager(lambda: setup(Average()), "settings or replaces tensors")


def test_a_buffer_given_other_memory_in_the_step():
    class Average(layers.Layer):
        def build(self, input_shape):
            self.register_buffer("mean", torch.zeros(()))

        def call(self, inputs):
            self.mean.data = 0.9 * self.mean + 0.1 * inputs.detach().mean()
            return inputs - self.mean

    stays_eager(lambda: setup(Average()), "other memory")


def test_an_intermediate_given_other_memory():
    def step(layer, x):
        hidden = x * 2
        hidden.data = hidden.data * 3 + 1
        return hidden

    stays_eager(lambda: doing(step), "other memory")


def test_shapes_changed_in_place():
    def views(layer, x):
        hidden = (x * 2).unsqueeze_(0).squeeze_(0)
        square = hidden[:, :, None] * x[:, None, :]
        return hidden + square.transpose_(1, 2).sum(-1) + (x + 1).t_().t()

    def resized(layer, x):
        return x + torch.ones(7).resize_(5)

    is_captured(lambda: doing(views))
    stays_eager(lambda: doing(resized), "changes a shape")


def test_a_shape_of_a_constant_changed_in_place():
    held = types.MappingProxyType({"tensor": torch.ones(5, 1)})

    def step(layer, x):
        return x + layer.held["tensor"].t_().reshape(5)

    stays_eager(lambda: doing(step, held=held), "from outside")


def test_recurrent_layers_of_torch_stay_captured():
    class Recurrent(layers.Layer):
        def __init__(self, kind):
            super().__init__()
            self.cell = kind(1, 5, batch_first=True)

        def call(self, inputs):
            return self.cell(inputs[:, :, None])[0][:, -1]

    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        is_captured(lambda kind=kind: setup(Recurrent(kind)), epochs=3)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_torchscript():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = 0

        def forward(self, x):
            self.steps += 1
            if self.steps > 12:
                return x * 3
            return x

    stays_eager(lambda: setup(torch.jit.script(Counting())), "TorchScript")


def test_reseeding():
    def first(layer, x):
        torch.manual_seed(3)
        return F.dropout(x, 0.5, layer.training)

    def last(layer, x):
        x = F.dropout(x, 0.5, layer.training)
        torch.manual_seed(3)
        return x

    def without_draws(layer, x):
        torch.manual_seed(3)
        return x

    for function in (first, last, without_draws):
        stays_eager(lambda function=function: doing(function), "random state")


def test_reseeding_a_generator_of_ones_own():
    def step(layer, x):
        layer.held["generator"].manual_seed(3)
        noise = torch.empty(x.shape).normal_(generator=layer.held["generator"])
        return x + noise

    held = types.MappingProxyType({"generator": torch.Generator()})
    stays_eager(lambda: doing(step, held=held), "random state")


def test_a_generator_of_ones_own_is_captured():
    def make():
        generator = torch.Generator().manual_seed(5)
        return doing(lambda layer, x: x + torch.empty(x.shape).normal_(generator=generator))

    is_captured(make)


def test_checkpoint_with_dropout():
    from torch.utils.checkpoint import checkpoint

    def make():
        def inner(x):
            return F.dropout(torch.relu(x), 0.5, layer.training)

        layer = Do(lambda layer, x: checkpoint(inner, x, use_reentrant=False))
        return setup(layer)

    stays_eager(make, "random state")


# --------------------------------------------------------------- what callbacks and others change


def test_an_attribute_that_a_callback_changes():
    def make():
        layer = Do(lambda layer, x: x * layer.factor, factor=1.0)

        def change(model, epoch):
            layer.factor = 1.0 + epoch

        return setup(layer, callbacks=[At(change)])

    is_captured(make, epochs=6)


def test_a_branch_that_a_callback_changes():
    def make():
        layer = Do(lambda layer, x: torch.relu(x) if layer.rectify else x, rectify=False)

        def change(model, epoch):
            layer.rectify = epoch > 1

        return setup(layer, callbacks=[At(change)])

    is_captured(make, epochs=6)


class Annealed:
    """A loss with a weight that a callback raises."""

    def __init__(self, weight=0.0):
        self.weight = weight

    def __call__(self, y_true, y_pred):
        return ((y_true - y_pred) ** 2).mean() + self.weight * y_pred.abs().mean()


def test_kl_annealing_by_an_attribute():
    def make():
        loss = Annealed()

        def anneal(model, epoch):
            loss.weight += 0.25

        return setup(loss=loss, callbacks=[At(anneal)])

    is_captured(make, epochs=6)


def test_kl_annealing_by_a_list_in_a_closure():
    def make():
        weight = [0.0]

        def anneal(model, epoch):
            weight[0] += 0.25

        def loss(y_true, y_pred):
            return ((y_true - y_pred) ** 2).mean() + weight[0] * y_pred.abs().mean()

        return setup(loss=loss, callbacks=[At(anneal)])

    is_captured(make, epochs=6)


@pytest.mark.parametrize("kind", ["array", "numpy scalar", "global"])
def test_kl_annealing_by_numpy(kind):
    def make():
        loss = Annealed(np.zeros(1, "float32"))
        if kind != "array":
            loss.weight = np.float32(0)

        def anneal(model, epoch):
            loss.weight += np.float32(0.25)

        def weighted(y_true, y_pred):
            weight = float(np.sum(loss.weight))
            return ((y_true - y_pred) ** 2).mean() + weight * y_pred.abs().mean()

        return setup(loss=weighted, callbacks=[At(anneal)])

    is_captured(make, epochs=6)


@pytest.mark.parametrize("way", ["fill", "data", "new", "weight"])
def test_kl_annealing_by_a_tensor(way):
    def make():
        loss = Annealed(torch.zeros(()))

        class Holder(layers.Layer):
            def build(self, input_shape):
                self.beta = self.add_weight(
                    shape=(), initializer="zeros", trainable=False, name="beta"
                )

            def call(self, inputs):
                return inputs

        holder = Holder()

        def anneal(model, epoch):
            if way == "fill":
                loss.weight.fill_(0.25 * (epoch + 1))
            elif way == "data":
                loss.weight.data = torch.tensor(0.25 * (epoch + 1))
            elif way == "new":
                loss.weight = torch.tensor(0.25 * (epoch + 1))
            else:
                holder.beta.assign(0.25 * (epoch + 1))

        def weighted(y_true, y_pred):
            weight = holder.beta.value if way == "weight" else loss.weight
            return ((y_true - y_pred) ** 2).mean() + weight * y_pred.abs().mean()

        return setup(holder, loss=weighted, callbacks=[At(anneal)])

    is_captured(make, epochs=6)


def test_user_python_beside_a_batch_hook():
    def make():
        loss = Annealed()

        def anneal(model, batch):
            loss.weight += 0.01

        return setup(loss=loss, callbacks=[AtBatch(anneal)])

    stays_eager(make, "batch hook")


def test_a_batch_hook_beside_built_in_layers_is_captured():
    def make():
        def change(model, batch):
            model.optimizer.learning_rate = 0.01 / (1 + batch)
            model.layers[1].rate = 0.1 * batch

        return setup(layers.Dropout(0.0, seed=3), callbacks=[AtBatch(change)])

    report = compare(make)
    assert report.kind == "eager"  # another rate at each step


def test_learning_rate_changed_by_a_batch_hook_is_captured():
    def make():
        def change(model, batch):
            model.optimizer.learning_rate = 0.01 / (1 + batch)

        return setup(callbacks=[AtBatch(change)])

    is_captured(make)


def test_settings_changed_between_steps_by_a_metric():
    """A metric runs between the steps, and may be in league with the loss."""
    weight = [0.0]

    def metric(y_true, y_pred):
        return y_pred.mean()

    class Sly(keras.metrics.Metric):
        def update_state(self, y_true, y_pred, sample_weight=None):
            weight[0] += 0.01

        def result(self):
            return 0.0

        def reset_state(self):
            pass

    def loss(y_true, y_pred):
        return ((y_true - y_pred) ** 2).mean() + weight[0] * y_pred.abs().mean()

    results = []
    for eager in (False, True):
        weight[0] = 0.0
        keras.utils.set_random_seed(0)
        model = keras.Sequential([layers.Dense(3, input_shape=(4,))])
        model.compile("sgd", loss, metrics=[Sly(name="sly"), metric], run_eagerly=eager)
        x, y = data()
        keras.utils.set_random_seed(1)
        results.append(model.fit(x, y, batch_size=8, epochs=3, verbose=0).history["loss"])
        report = model.step_report()
        assert report.kind == "eager"
    np.testing.assert_allclose(*results, rtol=1e-6)


SETTINGS = {
    "momentum of batch norm": (
        lambda: layers.BatchNormalization(),
        lambda layer, epoch: setattr(layer, "momentum", 0.5),
    ),
    "epsilon of batch norm": (
        lambda: layers.BatchNormalization(),
        lambda layer, epoch: setattr(layer, "epsilon", 0.5),
    ),
    "rate of dropout": (
        lambda: layers.Dropout(0.1, seed=3),
        lambda layer, epoch: setattr(layer, "rate", 0.2 + 0.1 * (epoch > 1)),
    ),
    "activation": (
        lambda: layers.Dense(5, activation="relu"),
        lambda layer, epoch: setattr(layer, "activation", torch.tanh),
    ),
    "regularizer's factor": (
        lambda: layers.Dense(5, kernel_regularizer=keras.regularizers.L2(0.01)),
        lambda layer, epoch: setattr(layer.kernel_regularizer, "l2", 0.5),
    ),
    "constraint's limit": (
        lambda: layers.Dense(5, kernel_constraint=keras.constraints.MaxNorm(2.0)),
        lambda layer, epoch: setattr(layer.kernel_constraint, "max_value", 0.5),
    ),
    "torch module's number": (
        lambda: nn.LeakyReLU(0.1),
        lambda layer, epoch: setattr(layer.module, "negative_slope", 0.4),
    ),
    "mode of a sublayer": (
        lambda: layers.BatchNormalization(),
        lambda layer, epoch: layer.eval(),
    ),
    "buffer rebound": (
        lambda: layers.BatchNormalization(),
        lambda layer, epoch: setattr(
            layer.module if hasattr(layer, "module") else next(iter(layer.children())),
            "running_mean",
            torch.full((5,), 0.1 * epoch),
        ),
    ),
    "call replaced": (
        lambda: layers.Activation("relu"),
        lambda layer, epoch: setattr(layer, "call", lambda x, layer=layer: x * (epoch + 1)),
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_a_callback_changes(name):
    make_layer, change = SETTINGS[name]

    def make():
        at = At(lambda model, epoch: change(model.layers[1], epoch) if epoch else None)
        return setup(make_layer(), callbacks=[at])

    is_captured(make, epochs=6)


@pytest.mark.parametrize(
    ("optimizer", "change"),
    [
        (lambda: keras.optimizers.Adam(0.01), {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1}),
        (lambda: keras.optimizers.SGD(0.01, momentum=0.9), {"momentum": 0.1, "nesterov": True}),
        (lambda: keras.optimizers.SGD(0.01), {"clipnorm": 0.01}),
        (lambda: keras.optimizers.RMSprop(0.01), {"rho": 0.5, "weight_decay": 0.1}),
    ],
)
def test_numbers_of_the_optimizer_that_a_callback_changes(optimizer, change):
    def make():
        def act(model, epoch):
            if epoch == 1:
                for name, value in change.items():
                    setattr(model.optimizer, name, value)

        return setup(optimizer=optimizer(), callbacks=[At(act)])

    is_captured(make, epochs=6)


def test_state_loaded_into_the_optimizer():
    def make():
        saved = {}

        def act(model, epoch):
            if epoch == 0:
                state = model.optimizer.state_dict()
                saved.update(
                    param_groups=state["param_groups"],
                    state={
                        index: {name: tensor.clone() for name, tensor in slots.items()}
                        for index, slots in state["state"].items()
                    },
                )
            elif epoch == 2:
                model.optimizer.load_state_dict(saved)

        return setup(optimizer="adam", callbacks=[At(act)])

    is_captured(make, epochs=6)


def test_global_epsilon():
    epsilon = keras.config.epsilon()

    def make():
        keras.config.set_epsilon(epsilon)

        def act(model, epoch):
            keras.config.set_epsilon(0.1 + 0.1 * epoch)

        return setup(
            layers.Dense(5, activation="sigmoid"),
            loss="categorical_crossentropy",
            callbacks=[At(act)],
        )

    try:
        is_captured(make, epochs=5)
    finally:
        keras.config.set_epsilon(epsilon)


def test_a_torch_loss_whose_number_changes():
    def make():
        loss = nn.SmoothL1Loss(beta=1.0)

        def act(model, epoch):
            loss.beta = 0.1 + 0.1 * epoch

        return setup(loss=loss, callbacks=[At(act)])

    is_captured(make, epochs=6)


def test_a_model_in_a_closure_whose_weight_is_replaced():
    def make():
        torch.manual_seed(0)
        other = nn.Linear(3, 3)

        def act(model, epoch):
            torch.manual_seed(epoch)
            other.weight = nn.Parameter(torch.randn(3, 3))

        return setup(loss=lambda t, p: (other(t) - other(p)).square().mean(), callbacks=[At(act)])

    is_captured(make, epochs=5)


def test_another_batch_shape():
    is_captured(lambda: setup(), samples=43, epochs=5)


def test_another_dtype():
    def make():
        return setup(callbacks=[At(lambda model, epoch: model.double() if epoch == 1 else None)])

    keras.utils.set_random_seed(0)
    models = []
    for eager in (False, True):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([layers.Dense(5, input_shape=(4,)), layers.Dense(3)])
        model.compile("adam", "mse", run_eagerly=eager)
        x, y = data()
        for dtype in (torch.float32, torch.float64, torch.float32):
            model.to(dtype)
            keras.utils.set_random_seed(1)
            model.fit(x, y, batch_size=8, epochs=3, verbose=0)
            assert model.get_weights()[0].dtype == {4: np.float32, 8: np.float64}[dtype.itemsize]
        models.append(model)
    for one, two in zip(*(model.get_weights() for model in models)):
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-6)
    assert models[0].step_report().kind == "captured"


# --------------------------------------------------------------------------- hooks and modes


@pytest.mark.parametrize("where", ["layer", "torch module", "pre", "global", "parameter"])
def test_hooks(where):
    calls = []

    def count(*args):
        calls.append(1)

    def train(eager):
        calls.clear()
        keras.utils.set_random_seed(0)
        model = keras.Sequential([layers.Dense(5, input_shape=(4,)), layers.Dense(3)])
        model.compile("sgd", "mse", run_eagerly=eager)
        layer = model.layers[0]
        if where == "layer":
            handle = layer.register_forward_hook(count)
        elif where == "torch module":
            handle = layer.linear.register_forward_hook(count)
        elif where == "pre":
            handle = layer.register_forward_pre_hook(count)
        elif where == "global":
            handle = nn.modules.module.register_module_forward_hook(count)
        else:
            handle = layer.linear.weight.register_hook(count)
        try:
            model.fit(*data(), batch_size=8, epochs=3, verbose=0)
        finally:
            handle.remove()
        return model, len(calls)

    (captured, count_captured), (_, count_eager) = train(False), train(True)
    assert count_captured == count_eager > 0
    assert "hooks" in captured.step_report().reason
    captured.fit(*data(), batch_size=8, epochs=3, verbose=0)
    assert captured.step_report().kind == "captured"


def test_anomaly_detection():
    with torch.autograd.set_detect_anomaly(True):
        stays_eager(lambda: setup(), "anomaly")


def test_torch_modes():
    from torch.overrides import TorchFunctionMode

    class Seeing(TorchFunctionMode):
        multiplications = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.multiplications += func is F.linear
            return func(*args, **(kwargs or {}))

    with Seeing() as seeing:
        report = compare(lambda: setup())
    assert report.reason == "a torch mode is active"
    # Of 2 layers at 20 steps of training, 5 of evaluation and 5 of prediction, in both runs.
    assert seeing.multiplications == 2 * 2 * 30


def test_the_mode_of_the_default_device_is_none():
    torch.set_default_device("cpu")
    try:
        is_captured(lambda: doing(lambda layer, x: x + torch.ones(5)))
    finally:
        torch.set_default_device(None)


def test_a_python_profiler():
    events = []
    sys.setprofile(lambda *event: events.append(event[1]))
    try:
        report = compare(lambda: doing(lambda layer, x: x * 2), epochs=2)
    finally:
        sys.setprofile(None)
    assert "profiler" in report.reason


def test_compiled_modules():
    compiled = torch.compile(nn.ReLU(), backend="eager")
    report = compare(lambda: doing(lambda layer, x: compiled(x)), epochs=3)
    assert report.kind in ("captured", "eager")


def test_a_mode_that_another_thread_switches_meanwhile():
    root = nn.Linear(2, 2)

    def step(x, y, weight):
        root.train(False)  # as predict does, in the midst of another thread's step
        output = x * 2
        root.train(True)
        return (output,)

    _, found = record(step, (torch.ones(2), None, None), [], root)
    assert found.hazards == [SWITCHED]


# --------------------------------------------------------------------------------- false alarms


def test_one_hot_stays_captured():
    def make():
        def loss(y_true, y_pred):
            target = F.one_hot(y_true.long().reshape(-1), 3).float()
            return -(target * torch.log_softmax(y_pred, -1)).sum(-1).mean()

        return setup(loss=loss, metrics=[])

    is_captured(make, y=LABELS)


def test_one_hot_without_a_number_of_classes():
    def make():
        def loss(y_true, y_pred):
            target = F.one_hot(y_true.long().reshape(-1))
            return (y_pred[:, : target.shape[1]] - target).square().mean()

        return setup(loss=loss, metrics=[])

    stays_eager(make, "value", y=LABELS)


def bincount_loss(y_true, y_pred):
    labels = y_true.long().reshape(-1)
    counts = torch.bincount(labels, minlength=3)
    weights = 1 / (1.0 + counts.float())
    return F.cross_entropy(y_pred, labels, weights)


def test_bincount_with_minlength_stays_captured():
    is_captured(lambda: setup(loss=bincount_loss, metrics=[]), y=LABELS)


def test_bincount_beyond_minlength_raises():
    model, _ = run(lambda: setup(loss=bincount_loss, metrics=[]), False, y=LABELS)
    y = LABELS.copy()
    y[-1] = 5
    with pytest.raises(ValueError, match="bincount: a batch has the number 5"):
        model.fit(data()[0], y, batch_size=8, epochs=2, shuffle=False, verbose=0)


def test_bincount_without_minlength():
    def loss(y_true, y_pred):
        counts = torch.bincount(y_true.long().reshape(-1))
        return y_pred.square().mean() * counts[0] / len(y_true)

    stays_eager(lambda: setup(loss=loss, metrics=[]), "shape", y=LABELS)


def test_constants_of_equal_value_stay_captured():
    def step(layer, x):
        return x * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]) + torch.as_tensor(np.full(5, 0.5, "f"))

    is_captured(lambda: doing(step))


GLOBAL = torch.linspace(0, 1, 5)


def test_a_global_constant_tensor_stays_captured():
    is_captured(lambda: doing(lambda layer, x: x * GLOBAL))


def test_a_constant_that_is_written_to():
    def step(layer, x):
        total = torch.tensor([0.0])
        total += x.detach().mean() * 0
        return x + total

    report = compare(lambda: doing(step))
    assert report.kind == "eager"


def test_plain_user_code_stays_captured():
    class Residual(layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(input_shape[-1], input_shape[-1]), name="kernel")

        def call(self, inputs, training=False):
            hidden = torch.relu(inputs @ self.kernel)
            return inputs + (hidden + 0.1 * torch.randn_like(hidden) if training else hidden)

    is_captured(lambda: setup(Residual()))


def test_lists_of_layers_and_loops_stay_captured():
    class Blocks(layers.Layer):
        def __init__(self):
            super().__init__()
            self.blocks = [layers.Dense(5, activation="tanh") for _ in range(3)]

        def call(self, inputs):
            outputs = []
            for block in self.blocks:
                inputs = block(inputs)
                outputs.append(inputs)
            return sum(outputs)

    is_captured(lambda: setup(Blocks()))


def test_custom_autograd_functions_stay_captured():
    class Straight(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sign()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * (ctx.saved_tensors[0].abs() < 1)

    is_captured(lambda: doing(lambda layer, x: Straight.apply(x)))


def test_moving_statistics_in_place_stay_captured():
    class Average(layers.Layer):
        def build(self, input_shape):
            self.register_buffer("mean", torch.zeros(input_shape[-1]))

        def call(self, inputs, training=False):
            if training:
                with torch.no_grad():
                    self.mean.mul_(0.9).add_(inputs.mean(0), alpha=0.1)
            return inputs - self.mean

    is_captured(lambda: setup(Average()))


def test_values_of_weights_by_data_stay_captured():
    class Detached(layers.Layer):
        def build(self, input_shape):
            self.scale = nn.Parameter(torch.ones(input_shape[-1]))

        def call(self, inputs):
            return inputs * self.scale + self.scale.data

    is_captured(lambda: setup(Detached()), fits=2)
