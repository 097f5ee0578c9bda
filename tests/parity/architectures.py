"""Architectures that Keras and torchkeras must build alike: each a function of the library.

``ARCHITECTURES`` holds them by name. A builder takes the library (``keras`` or ``torchkeras``) and
uses only what both have in common; beside it stand the data it takes and what of the user's own
its config needs.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

ARCHITECTURES = {}


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        name: the builder's.
        build: makes the model of a library.
        inputs: draws inputs, as the model takes them, from a generator and a number of samples.
        custom: names of the user's classes and functions in its config.
        symbolic: whether it is made of symbolic tensors, so that a config tells all.
        random: whether training draws random numbers.
        samples: the batch size it is built for, where it is built for one.
    """

    name: str
    build: Callable[[Any], Any]
    inputs: Callable[[np.random.Generator, int], Any]
    custom: tuple[str, ...] = ()
    symbolic: bool = True
    random: bool = False
    samples: int | None = None

    def custom_objects(self, k):
        """The user's classes and functions, by name, in the form for a library."""
        return {name: getattr(own(k), name) for name in self.custom}

    def draw(self, samples, seed=0):
        """Inputs of a number of samples, or of the nearest whole number of batches below it."""
        if self.samples:
            samples = max(samples // self.samples, 1) * self.samples
        return self.inputs(np.random.default_rng(seed), samples)


def architecture(inputs, **facts):
    """Enter a builder into the table."""

    def enter(build):
        ARCHITECTURES[build.__name__] = Architecture(build.__name__, build, inputs, **facts)
        return build

    return enter


def map_leaves(function, structure):
    """A structure of lists, tuples and dictionaries with a function applied to its leaves."""
    if isinstance(structure, dict):
        return {key: map_leaves(function, part) for key, part in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(map_leaves(function, part) for part in structure)
    return function(structure)


def leaves_of(structure):
    """The leaves, dictionaries in the order of their sorted keys."""
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in leaves_of(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [leaf for part in structure for leaf in leaves_of(part)]
    return [structure]


def targets_for(outputs, seed=1):
    """Random targets of the structure and the shapes of a model's outputs."""
    rng = np.random.default_rng(seed)

    def draw(part):
        if isinstance(part, dict):  # in one order, whatever the library's
            drawn = {key: draw(part[key]) for key in sorted(part)}
            return {key: drawn[key] for key in part}
        if isinstance(part, (list, tuple)):
            return [draw(one) for one in part]
        return normal(*part.shape[1:])(rng, len(part))

    return draw(outputs)


def weights_for(model, seed=2):
    """Random weights of a size that keeps every architecture in a well-conditioned range."""
    rng = np.random.default_rng(seed)
    values = []
    for variable in model.weights:
        value = rng.normal(size=tuple(variable.shape)) * 0.4
        if "variance" in variable.name or "gamma" in variable.name:
            value = 1 + np.abs(value)
        values.append(value.astype("float32"))
    return values


# ------------------------------------------------------------------------------------------ data


def normal(*shape):
    """A maker of normal numbers, ``(samples, *shape)`` in float32."""
    return lambda rng, samples: rng.normal(size=(samples, *shape)).astype("float32")


def whole(limit, *shape, dtype="int32"):
    """A maker of whole numbers from 0 to below a limit."""
    return lambda rng, samples: rng.integers(0, limit, (samples, *shape)).astype(dtype)


def several(*makers):
    """A maker of a list."""
    return lambda rng, samples: [make(rng, samples) for make in makers]


def named(**makers):
    """A maker of a dictionary."""
    return lambda rng, samples: {name: make(rng, samples) for name, make in makers.items()}


def padded(time, features):
    """A maker of sequences whose last steps, a different number in each sample, are zeros."""

    def make(rng, samples):
        x = normal(time, features)(rng, samples)
        lengths = rng.integers(1, time + 1, samples)
        x[np.arange(time) >= lengths[:, None]] = 0
        return x

    return make


# ------------------------------------------------------------------------- what the user writes


def mean_over_time(x):
    return x.mean(dim=1)


def sum_of_last(x):
    return torch.sum(x, dim=-1, keepdim=True)


def swish(x):
    return x * torch.sigmoid(x)


def scaled(x, factor, offset=0.0):
    return factor * x + offset


def difference(pair):
    return torch.abs(pair[0] - pair[1])


def halves(x):
    return x[:, :3], x[:, 3:]


FUNCTIONS = (mean_over_time, sum_of_last, swish, scaled, difference, halves)


class Own:
    """Classes of the user's, as attributes, derived from those of a library."""


@functools.cache
def own(k):
    """The user's classes and functions for a library."""

    class Scale(k.layers.Layer):
        """A weight for each feature, and a count of calls in training that no gradient moves."""

        def build(self, input_shape):
            self.scale = self.add_weight(
                shape=(input_shape[-1],), initializer="ones", name="scale", regularizer="l2"
            )
            self.offset = self.add_weight(
                shape=(input_shape[-1],), initializer="zeros", trainable=False, name="offset"
            )

        def call(self, inputs):
            return inputs * self.scale + self.offset

    class Film(k.layers.Layer):
        """Features scaled and moved by what two inner layers make of a context."""

        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.gain = k.layers.Dense(units, name="gain")
            self.move = k.layers.Dense(units, name="move")

        def build(self, inputs_shape, context_shape):
            self.gain.build(context_shape)
            self.move.build(context_shape)

        def call(self, inputs, context, sharp=1.0):
            return inputs * torch.tanh(sharp * self.gain(context)) + self.move(context)

        def compute_output_shape(self, inputs_shape, context_shape):
            return inputs_shape

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    class Moments(k.layers.Layer):
        """Two outputs, of different rank; the shapes are for the library to find."""

        def call(self, inputs):
            return inputs.mean(dim=1), (inputs - inputs.mean(dim=1, keepdim=True)) ** 2

    class Penalty(k.layers.Layer):
        """Adds a loss of its own."""

        def call(self, inputs):
            self.add_loss(0.1 * (inputs**2).mean())
            return inputs

    class Towers(k.Model):
        """A functional model, a Sequential and a list of layers within a ``call`` of the user's."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            x = k.Input((6,), name="x")
            hidden = k.layers.Dense(5, activation="relu", name="hidden")(x)
            self.tower = k.Model(x, [hidden, k.layers.Dense(3, name="head")(hidden)], name="tower")
            self.chain = k.Sequential(
                [k.layers.Dense(5, name="a"), k.layers.BatchNormalization(name="b")], name="chain"
            )
            self.rest = [k.layers.Dense(5, activation="tanh", name=f"r{i}") for i in range(2)]

        def call(self, inputs, training=None):
            hidden, head = self.tower(inputs)
            for layer in self.rest:
                hidden = layer(hidden)
            return {"head": head, "chain": self.chain(hidden, training=training)}

    class Fixed(k.Model):
        """A functional model whose graph the constructor of a subclass makes."""

        def __init__(self, width):
            x = k.Input((4,), name="x")
            hidden = k.layers.Dense(width, activation="tanh", name="hidden")(x)
            super().__init__(inputs=x, outputs=k.layers.Dense(2, name="out")(hidden), name="fixed")
            self.width = width

        def get_config(self):
            return {"width": self.width}

        @classmethod
        def from_config(cls, config, custom_objects=None):
            return cls(**config)

    made = Own()
    for cls in (Scale, Film, Moments, Penalty, Towers, Fixed):
        setattr(made, cls.__name__, cls)
    for function in FUNCTIONS:
        setattr(made, function.__name__, function)
    return made


# --------------------------------------------------------------------------- chains and branches


@architecture(normal(4))
def chain_of_unnamed_layers(k):
    x = k.Input((4,))
    y = k.layers.Dense(6, activation="relu")(x)
    y = k.layers.BatchNormalization()(y)
    y = k.layers.Dense(5)(y)
    y = k.layers.Activation("tanh")(y)
    return k.Model(x, k.layers.Dense(2, activation="softmax")(y))


@architecture(several(normal(3), normal(4), normal(2)))
def three_inputs(k):
    a, b, c = (k.Input((width,)) for width in (3, 4, 2))
    merged = k.layers.Concatenate()([k.layers.Dense(3, activation="tanh")(a), b, c])
    return k.Model([a, b, c], k.layers.Dense(2)(merged), name="three")


@architecture(normal(5))
def three_outputs(k):
    x = k.Input((5,), name="x")
    shared = k.layers.Dense(8, activation="relu", name="shared")(x)
    heads = [k.layers.Dense(width, name=f"head_{width}")(shared) for width in (1, 2, 3)]
    return k.Model(x, heads)


@architecture(named(wide=normal(3), deep=normal(5)))
def dictionaries_in_and_out(k):
    inputs = {"wide": k.Input((3,), name="wide"), "deep": k.Input((5,), name="deep")}
    deep = k.layers.Dense(4, activation="tanh", name="hidden")(inputs["deep"])
    both = k.layers.Concatenate(name="both")([inputs["wide"], deep])
    outputs = {
        "score": k.layers.Dense(1, activation="sigmoid", name="score_head")(both),
        "code": k.layers.Dense(2, name="code_head")(deep),
    }
    return k.Model(inputs, outputs)


@architecture(normal(4))
def nested_structure_out(k):
    x = k.Input((4,), name="x")
    a, b, c = (k.layers.Dense(width, name=name)(x) for name, width in zip("abc", (1, 2, 3)))
    return k.Model(x, {"pair": [b, a], "single": c})


@architecture(named(text=several(normal(3), normal(2)), flag=normal(1)))
def nested_structure_in(k):
    text = [k.Input((3,), name="title"), k.Input((2,), name="body")]
    flag = k.Input((1,), name="flag")
    merged = k.layers.Concatenate(name="merged")([*text, flag])
    return k.Model({"text": text, "flag": flag}, k.layers.Dense(2, name="out")(merged))


@architecture(normal(6))
def diamond(k):
    x = k.Input((6,), name="top")
    left = k.layers.Dense(4, activation="relu", name="left")(x)
    right = k.layers.Dense(4, activation="sigmoid", name="right")(x)
    low = k.layers.Dense(4, name="low")(k.layers.Multiply(name="meet")([left, right]))
    return k.Model(x, k.layers.Add(name="bottom")([low, left, right]))


@architecture(normal(3))
def input_among_the_outputs(k):
    x = k.Input((3,), name="x")
    same = k.layers.Identity(name="same")(x)
    return k.Model(x, [x, same, k.layers.Dense(2, name="out")(same)])


@architecture(several(normal(3), normal(2)))
def unused_input(k):
    x, unused = k.Input((3,), name="x"), k.Input((2,), name="unused")
    return k.Model([x, unused], k.layers.Dense(2, name="out")(x))


@architecture(normal(3), samples=8)
def fixed_batch_size(k):
    x = k.Input(batch_shape=(8, 3), name="x")
    y = k.layers.Reshape((3, 1), name="column")(k.layers.Dense(3, name="dense")(x))
    return k.Model(x, k.layers.Flatten(name="flat")(y))


# ------------------------------------------------------------------------ residual, gated, dense


@architecture(normal(6))
def residual_by_layer_and_by_operator(k):
    x = k.Input((6,))
    y = k.layers.Add()([x, k.layers.Dense(6, activation="relu")(x)])
    y = y + k.layers.Dense(6, activation="tanh")(y)
    y = k.layers.Add()([y, x])
    return k.Model(x, k.layers.Dense(1)(y + x))


@architecture(normal(8))
def residual_with_projection(k):
    x = k.Input((8,), name="x")
    y = x
    for block, width in enumerate((8, 5, 5)):
        short = y
        if y.shape[-1] != width:
            short = k.layers.Dense(width, use_bias=False, name=f"project_{block}")(y)
        y = k.layers.Dense(width, use_bias=False, name=f"a_{block}")(y)
        y = k.layers.BatchNormalization(name=f"norm_{block}")(y)
        y = k.layers.Activation("relu", name=f"relu_{block}")(y)
        y = k.layers.Dense(width, name=f"b_{block}")(y)
        y = k.layers.Activation("relu", name=f"out_{block}")(short + y)
    return k.Model(x, k.layers.Dense(3, activation="softmax", name="classes")(y))


@architecture(normal(5))
def highway(k):
    x = k.Input((5,))
    y = x
    for _ in range(3):
        gate = k.layers.Dense(5, activation="sigmoid", bias_initializer="zeros")(y)
        y = gate * k.layers.Dense(5, activation="relu")(y) + (1 - gate) * y
    return k.Model(x, k.layers.Dense(1)(y), name="highway")


@architecture(normal(4))
def gated_linear_units(k):
    x = k.Input((4,))
    y = x
    for _ in range(2):
        both = k.layers.Dense(12)(y)
        y = both[:, :6] * k.layers.Activation("sigmoid")(both[:, 6:])
    return k.Model(x, k.layers.Dense(2)(y))


@architecture(normal(6, 4), custom=("mean_over_time",))
def squeeze_and_excite(k):
    x = k.Input((6, 4), name="x")
    squeezed = k.layers.Lambda(mean_over_time, name="squeeze")(x)
    gate = k.layers.Dense(2, activation="relu", name="down")(squeezed)
    gate = k.layers.Dense(4, activation="sigmoid", name="up")(gate)
    gate = k.layers.Reshape((1, 4), name="gate")(gate)
    return k.Model(x, k.layers.Multiply(name="excite")([x, gate]))


@architecture(normal(4))
def dense_block(k):
    x = k.Input((4,))
    features = [x]
    for _ in range(4):
        seen = k.layers.Concatenate()(features) if len(features) > 1 else x
        seen = k.layers.BatchNormalization()(seen)
        features.append(k.layers.Dense(3, activation="relu")(seen))
    return k.Model(x, k.layers.Dense(2)(k.layers.Concatenate()(features)))


@architecture(normal(6), random=True)
def dropout_between(k):
    x = k.Input((6,), name="x")
    y = k.layers.Dropout(0.3, seed=5, name="drop")(
        k.layers.Dense(16, activation="relu", name="a")(x)
    )
    z = k.layers.Dropout(0.2, seed=6, name="drop_too")(k.layers.Dense(16, name="b")(y))
    return k.Model(x, k.layers.Dense(2, name="out")(k.layers.Average(name="mean")([y, z])))


# ------------------------------------------------------------------------------- sharing weights


@architecture(several(normal(5), normal(5)))
def siamese(k):
    tower = k.Sequential(
        [
            k.layers.Input((5,), name="side"),
            k.layers.Dense(8, activation="relu", name="wide"),
            k.layers.Dense(3, name="code"),
        ],
        name="tower",
    )
    left, right = k.Input((5,), name="left"), k.Input((5,), name="right")
    distance = abs(tower(left) - tower(right))
    same = k.layers.Dense(1, activation="sigmoid", name="same")(distance)
    return k.Model([left, right], same, name="siamese")


@architecture(several(normal(4), normal(4)), custom=("difference",))
def siamese_with_lambda_of_a_list(k):
    x = k.Input((4,), name="side")
    tower = k.Model(x, k.layers.Dense(3, activation="tanh", name="code")(x), name="tower")
    left, right = k.Input((4,), name="left"), k.Input((4,), name="right")
    apart = k.layers.Lambda(difference, output_shape=(3,), name="apart")(
        [tower(left), tower(right)]
    )
    return k.Model([left, right], k.layers.Dense(1, name="same")(apart))


@architecture(several(normal(6), normal(4)))
def two_towers(k):
    user, item = k.Input((6,), name="user"), k.Input((4,), name="item")
    codes = []
    for name, x in (("user", user), ("item", item)):
        y = k.layers.Dense(8, activation="relu", name=f"{name}_hidden")(x)
        codes.append(k.layers.Dense(3, name=f"{name}_code")(y))
    cosine = k.layers.Dot(axes=1, normalize=True, name="cosine")(codes)
    product = k.layers.Dot(axes=-1, name="product")(codes)
    return k.Model([user, item], [cosine, product])


@architecture(normal(6))
def autoencoder(k):
    x = k.Input((6,), name="picture")
    code = k.layers.Dense(2, name="code")(k.layers.Dense(4, activation="relu", name="down")(x))
    encoder = k.Model(x, code, name="encoder")
    z = k.Input((2,), name="latent")
    picture = k.layers.Dense(6, name="again")(k.layers.Dense(4, activation="relu", name="up")(z))
    decoder = k.Model(z, picture, name="decoder")
    whole_x = k.Input((6,), name="whole")
    return k.Model(whole_x, decoder(encoder(whole_x)), name="autoencoder")


@architecture(several(normal(5), normal(3)))
def autoencoder_with_a_shared_decoder(k):
    z = k.Input((2,), name="latent")
    hidden = k.layers.Dense(4, activation="tanh", name="up")(z)
    decoder = k.Model(z, k.layers.Dense(5, name="again")(hidden), name="decoder")
    a, b = k.Input((5,), name="a"), k.Input((3,), name="b")
    code_a = k.layers.Dense(2, name="encode_a")(a)
    code_b = k.layers.Dense(2, name="encode_b")(b)
    middle = k.layers.Average(name="middle")([code_a, code_b])
    return k.Model([a, b], [decoder(code_a), decoder(code_b), decoder(middle)])


@architecture(several(normal(4), normal(4)))
def same_model_called_twice_in_a_row(k):
    x = k.Input((4,), name="inner_x")
    step = k.Model(x, x + k.layers.Dense(4, activation="tanh", name="move")(x), name="step")
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    once = step(a)
    return k.Model([a, b], [step(once), k.layers.Subtract(name="gap")([once, step(b)])])


@architecture(normal(5))
def layer_shared_three_times(k):
    x = k.Input((5,), name="x")
    again = k.layers.Dense(5, activation="relu", name="again")
    norm = k.layers.BatchNormalization(name="norm")
    y = again(norm(again(x)))
    return k.Model(x, [y, again(norm(y))])


@architecture(several(normal(4), normal(3, 4)))
def layer_shared_between_ranks(k):
    one, many = k.Input((4,), name="one"), k.Input((3, 4), name="many")
    code = k.layers.Dense(2, activation="tanh", name="code")
    rows = k.layers.RepeatVector(3, name="rows")(code(one))
    return k.Model([one, many], k.layers.Add(name="sum")([rows, code(many)]))


# ---------------------------------------------------------------------------- models in models


@architecture(normal(4))
def nested_sequentials(k):
    x = k.Input((4,), name="x")
    inner = k.Sequential([k.layers.Dense(3, name="i"), k.layers.Activation("relu", name="j")])
    outer = k.Sequential([k.layers.Dense(4, name="o"), inner], name="outer")
    return k.Model(x, k.layers.Dense(2, name="out")(outer(x)), name="whole")


@architecture(normal(4))
def functional_to_depth_three(k):
    model = None
    for depth in range(3):
        x = k.Input((4,), name=f"x{depth}")
        y = k.layers.Dense(4, activation="tanh", name="dense")(x)
        y = k.layers.BatchNormalization(name="norm")(y)
        if model is not None:
            y = k.layers.Add(name="add")([y, model(y)])
        model = k.Model(x, y, name=f"depth{depth}")
    return model


@architecture(several(normal(3), normal(3)))
def inner_model_of_several_inputs_and_outputs(k):
    a, b = k.Input((3,), name="a"), k.Input((3,), name="b")
    inner = k.Model(
        {"a": a, "b": b},
        {
            "sum": k.layers.Dense(2, name="p")(a + b),
            "product": k.layers.Dense(2, name="q")(a * b),
        },
        name="inner",
    )
    left, right = k.Input((3,), name="left"), k.Input((3,), name="right")
    first = inner({"a": left, "b": right})
    second = inner({"b": left, "a": right})
    return k.Model([left, right], first["sum"] - second["product"] * first["product"])


@architecture(normal(5))
def sequential_of_models(k):
    x = k.Input((5,), name="x")
    y = k.layers.Dense(4, activation="relu", name="a")(x)
    wide = k.Model(x, k.layers.Concatenate(name="both")([x, y]), name="wide")
    narrow = k.Sequential([k.layers.Input((9,), name="n"), k.layers.Dense(3, name="b")], name="low")
    last = k.layers.Dense(1, name="last")
    return k.Sequential([k.layers.Input((5,), name="first"), wide, narrow, last], name="chain")


@architecture(normal(4))
def unused_second_output(k):
    x = k.Input((4,), name="inner_x")
    hidden = k.layers.Dense(3, activation="relu", name="hidden")(x)
    inner = k.Model(x, [hidden, k.layers.Dense(2, name="unused")(hidden)], name="inner")
    outer = k.Input((4,), name="x")
    return k.Model(outer, k.layers.Dense(1, name="out")(inner(outer)[0]))


@architecture(normal(5))
def part_of_a_graph(k):
    x = k.Input((5,), name="x")
    y = k.layers.Dense(4, activation="relu", name="features")(x)
    z = k.layers.Dense(3, name="deeper")(y)
    model = k.Model(x, k.layers.Dense(2, name="classes")(z + k.layers.Dense(3, name="side")(y)))
    found = [model.get_layer(name).output for name in ("features", "side")]
    return k.Model(model.input, [*found, model.output], name="part")


@architecture(normal(5))
def new_head_on_a_frozen_part(k):
    x = k.Input((5,), name="x")
    y = k.layers.BatchNormalization(name="norm")(k.layers.Dense(4, activation="relu", name="a")(x))
    old = k.Model(x, k.layers.Dense(7, name="old_classes")(y), name="old")
    base = k.Model(old.inputs, old.get_layer("norm").output, name="base")
    base.trainable = False
    picture = k.Input((5,), name="picture")
    features = base(picture, training=False)
    return k.Model(picture, k.layers.Dense(2, name="new_classes")(features))


@architecture(normal(4))
def every_layer_of_a_sequential(k):
    chain = k.Sequential(
        [
            k.layers.Input((4,), name="x"),
            k.layers.Dense(5, activation="relu", name="a"),
            k.layers.BatchNormalization(name="b"),
            k.layers.Dense(2, name="c"),
        ]
    )
    return k.Model(chain.inputs, [layer.output for layer in chain.layers], name="probe")


@architecture(normal(6), symbolic=False)
def functional_in_a_subclass(k):
    return own(k).Towers(name="towers")


@architecture(normal(6), custom=("Towers",))
def subclass_in_functional(k):
    x = k.Input((6,), name="x")
    parts = own(k).Towers(name="towers")(x)
    return k.Model(
        x, k.layers.Concatenate(name="both")([parts["head"], parts["chain"]]), name="whole"
    )


@architecture(normal(4), custom=("Fixed",))
def functional_by_a_subclass_constructor(k):
    return own(k).Fixed(3)


# -------------------------------------------------------------------- layers and their arguments


@architecture(several(normal(5), normal(4)), custom=("sum_of_last",))
def wide_and_deep(k):
    wide, deep = k.Input((5,), name="wide"), k.Input((4,), name="deep")
    y = deep
    for width in (8, 6):
        y = k.layers.Dense(width, activation="relu")(y)
    linear = k.layers.Lambda(sum_of_last)(wide)
    return k.Model([wide, deep], k.layers.Dense(1)(k.layers.concatenate([linear, wide, y])))


@architecture(normal(7), custom=("sum_of_last",))
def factorization_machine(k):
    x = k.Input((7,), name="x")
    linear = k.layers.Dense(1, name="linear")(x)
    products = k.layers.Dense(3, use_bias=False, name="products")(x) ** 2
    squares = k.layers.Dense(3, use_bias=False, name="squares")(x**2)
    pairs = k.layers.Lambda(sum_of_last, name="pairs")(products - squares)
    return k.Model(x, k.layers.Activation("sigmoid", name="p")(linear + 0.5 * pairs))


@architecture(normal(5))
def mixture_of_experts(k):
    x = k.Input((5,), name="x")
    gate = k.layers.Dense(3, activation="softmax", name="gate")(x)
    experts = [k.layers.Dense(4, activation="tanh", name=f"expert_{i}")(x) for i in range(3)]
    weighted = [gate[:, i : i + 1] * expert for i, expert in enumerate(experts)]
    return k.Model(x, [k.layers.Dense(2, name="out")(k.layers.add(weighted)), gate])


@architecture(normal(4, 6))
def attention_by_hand(k):
    x = k.Input((4, 6), name="x")
    # The softmax takes away what a bias of the keys adds: its gradient would be rounding alone.
    query, key, value = (
        k.layers.Dense(5, use_bias=name != "key", name=name)(x)
        for name in ("query", "key", "value")
    )
    scores = query @ k.layers.Permute((2, 1), name="turned")(key) / 5**0.5
    weights = k.layers.Activation("softmax", name="weights")(scores)
    mixed = k.layers.Dot(axes=(2, 1), name="mixed")([weights, value])
    return k.Model(x, k.layers.Dense(6, name="out")(mixed) + x)


@architecture(normal(6))
def all_merging_layers(k):
    x = k.Input((6,))
    a, b, c = (k.layers.Dense(3)(x) for _ in range(3))
    merged = [
        k.layers.Add()([a, b, c]),
        k.layers.Subtract()([a, b]),
        k.layers.Multiply()([a, b, c]),
        k.layers.Average()([a, b, c]),
        k.layers.Maximum()([a, b, c]),
        k.layers.Minimum()([a, b]),
        k.layers.Concatenate(axis=1)([a, b]),
        k.layers.Dot(axes=1)([b, c]),
    ]
    return k.Model(x, k.layers.Dense(2)(k.layers.Concatenate()(merged)))


@architecture(several(normal(3, 4), normal(4), normal(1, 1)))
def merging_of_unequal_shapes(k):
    rows, row, one = (k.Input(shape) for shape in ((3, 4), (4,), (1, 1)))
    wide = k.layers.Multiply()([rows, k.layers.Reshape((1, 4))(row)])
    y = k.layers.Maximum()([k.layers.Add()([wide, one]), rows])
    return k.Model([rows, row, one], k.layers.Dense(2)(y))


@architecture(normal(6))
def all_operators(k):
    x = k.Input((6,))
    a, b = (k.layers.Dense(4, activation="tanh")(x) for _ in range(2))
    y = -a + abs(b) * 2 - b / 3 + 2 / (1 + a**2)
    y = y + (1 - b) - (a > 0) * b
    y = y[:, :3] + y[:, -1:] * y[:, 1::1]
    outer = y[:, :, None] @ y[:, None, :]
    return k.Model(x, [y, outer, outer[..., 0] - x[:, 2:5], y[:, 0]])


@architecture(normal(3, 4))
def shapes_turned_around(k):
    x = k.Input((3, 4), name="x")
    y = k.layers.Permute((2, 1), name="turned")(x)
    y = k.layers.Reshape((-1, 6), name="rows")(y)
    y = k.layers.Dense(5, name="dense")(y)
    flat = k.layers.Flatten(name="flat")(y)
    again = k.layers.RepeatVector(2, name="again")(flat)
    return k.Model(x, [again, k.layers.BatchNormalization(axis=1, name="norm")(again)])


@architecture(normal(4, 3, 2))
def picture_through_dense(k):
    x = k.Input((4, 3, 2), name="picture")
    y = k.layers.BatchNormalization(name="norm")(x)
    y = k.layers.Dense(3, activation="relu", name="one_by_one")(y)
    y = k.layers.Concatenate(axis=1, name="higher")([y, y[:, :2]])
    y = k.layers.Dropout(0.0, name="none")(y)
    return k.Model(x, k.layers.Dense(2, name="out")(k.layers.Flatten(name="flat")(y)))


@architecture(normal(5))
def regularized_and_constrained(k):
    x = k.Input((5,), name="x")
    y = k.layers.Dense(
        6,
        activation="relu",
        kernel_regularizer="l2",
        bias_regularizer=k.regularizers.L1(1 / 64),
        kernel_constraint=k.constraints.MaxNorm(1.5),
        activity_regularizer="l2",
        name="a",
    )(x)
    y = k.layers.ActivityRegularization(l1=0.01, l2=0.02, name="activity")(y)
    y = k.layers.BatchNormalization(gamma_constraint="non_neg", beta_regularizer="l2", name="b")(y)
    y = k.layers.Dense(4, kernel_constraint="unit_norm", bias_constraint="non_neg", name="c")(y)
    return k.Model(x, k.layers.Dense(1, kernel_regularizer="L1L2", name="d")(y))


@architecture(
    several(normal(3), whole(9, 2), whole(2, 4, dtype="uint8"), whole(2, 3, dtype="bool"))
)
def inputs_of_several_dtypes(k):
    numbers = k.Input((3,), name="numbers")
    counts = k.Input((2,), dtype="int32", name="counts")
    pixels = k.Input((4,), dtype="uint8", name="pixels")
    chosen = k.Input((3,), dtype="bool", name="chosen")
    parts = [
        numbers * chosen,
        k.layers.Dense(2, name="of_counts")(counts / 9),
        k.layers.Dense(2, name="of_pixels")(pixels - 0.5),
    ]
    return k.Model(
        [numbers, counts, pixels, chosen],
        k.layers.Dense(2, name="out")(k.layers.Concatenate(name="all")(parts)),
    )


@architecture(normal(7, 4), custom=("mean_over_time",))
def unknown_time(k):
    x = k.Input((None, 4), name="x")
    y = k.layers.Dense(5, activation="tanh", name="steps")(x)
    y = k.layers.Activation("softmax", name="soft")(y) * y
    mean = k.layers.Lambda(mean_over_time, name="mean")(y)
    return k.Model(
        x, [k.layers.Dense(2, name="of_steps")(y), k.layers.Dense(1, name="of_all")(mean)]
    )


@architecture(padded(6, 3))
def masked_sequences(k):
    x = k.Input((6, 3), name="x")
    y = k.layers.Masking(0.0, name="mask")(x)
    y = k.layers.Dense(4, activation="tanh", name="steps")(y)
    y = k.layers.BatchNormalization(name="norm")(y)
    both = k.layers.Add(name="both")([y, k.layers.Activation("relu", name="relu")(y)])
    return k.Model(x, k.layers.Dense(2, name="out")(both))


@architecture(normal(6), custom=("scaled", "swish", "halves"))
def lambdas_with_arguments(k):
    x = k.Input((6,), name="x")
    y = k.layers.Lambda(scaled, arguments={"factor": 0.5, "offset": 1.0}, name="scaled")(x)
    left, right = k.layers.Lambda(halves, name="halves")(k.layers.Dense(6, name="dense")(y))
    right = k.layers.Dense(3, activation=swish, name="swish_dense")(right)
    right = k.layers.Activation(swish, name="swish")(right)
    return k.Model(x, left * right)


@architecture(several(normal(4), normal(3)), custom=("Scale", "Film", "Penalty"))
def own_layers(k):
    mine = own(k)
    x, context = k.Input((4,), name="x"), k.Input((3,), name="context")
    y = mine.Scale(name="scale")(x)
    y = mine.Film(4, name="film")(y, context)
    y = mine.Film(4, name="film_by_name")(y, context=context, sharp=0.5)
    y = mine.Penalty(name="penalty")(y)
    return k.Model([x, context], k.layers.Dense(2, name="out")(y))


@architecture(normal(5, 3), custom=("Moments",))
def layer_of_two_outputs(k):
    x = k.Input((5, 3), name="x")
    mean, squares = own(k).Moments(name="moments")(k.layers.Dense(3, name="dense")(x))
    return k.Model(x, {"mean": mean, "squares": k.layers.Flatten(name="flat")(squares)})
