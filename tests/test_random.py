"""torchkeras.random and torchkeras.seeds by themselves."""

import copy
import json
import pickle
import threading

import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import eras, initializers, layers, random, registry, seeds

FUNCTIONS = {
    "normal": ((5,),),
    "uniform": ((5,),),
    "randint": ((5,), 0, 1000),
    "truncated_normal": ((5,),),
    "categorical": (torch.zeros(1, 1000), 5),
    "dropout": (torch.ones(50), 0.5),
    "shuffle": (torch.arange(50),),
    "gamma": ((5,), 2.0),
    "beta": ((5,), 2.0, 2.0),
    "binomial": ((5,), 1000, 0.5),
}


def draw(name, seed=None):
    return getattr(random, name)(*FUNCTIONS[name], seed=seed)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_integer_gives_the_same_numbers_each_time(name):
    before = torch.random.get_rng_state()
    assert torch.equal(draw(name, 3), draw(name, 3))
    assert not torch.equal(draw(name, 3), draw(name, 4))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_generator_of_seeds_gives_a_sequence_that_repeats(name):
    one, two = random.SeedGenerator(3), random.SeedGenerator(3)
    sequence = [draw(name, one) for _ in range(3)]
    assert not torch.equal(sequence[0], sequence[1])
    assert not torch.equal(sequence[1], sequence[2])
    assert all(torch.equal(drawn, draw(name, two)) for drawn in sequence)
    assert one.state.numpy().tolist() == [3, 3]
    # The state is all there is: written back, it gives the same numbers again.
    one.state.assign([3, 1])
    assert torch.equal(draw(name, one), sequence[1])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_without_a_seed_set_random_seed_decides(name):
    torchkeras.utils.set_random_seed(5)
    sequence = [draw(name) for _ in range(2)]
    assert not torch.equal(*sequence)
    torchkeras.utils.set_random_seed(5)
    assert all(torch.equal(drawn, draw(name)) for drawn in sequence)


def test_a_generator_of_seeds_without_one_draws_one():
    torchkeras.utils.set_random_seed(5)
    one, two = random.SeedGenerator(), random.SeedGenerator()
    torchkeras.utils.set_random_seed(5)
    again = random.SeedGenerator()
    assert not torch.equal(draw("normal", one), draw("normal", two))
    one.state.assign(again.state)
    assert torch.equal(draw("normal", one), draw("normal", again))
    assert one.get_config()["seed"] is None


def test_it_draws_its_seed_from_numpy_where_keras_1_and_2_did():
    eras.set_version("2.2.4")
    np.random.seed(7)
    one = random.SeedGenerator()
    np.random.seed(7)
    assert one.state.numpy().tolist() == [np.random.randint(10**7), 0]


def test_the_state_is_a_variable():
    made = random.SeedGenerator(2**32 - 2, name="own")
    assert made.state.path == "own/seed_generator_state"
    assert (made.state.shape, made.state.dtype, made.state.trainable) == ((2,), "int32", False)
    assert made.next().tolist() == [-2, 0]
    assert made.next().tolist() == [-2, 1]
    assert made.state.numpy().tolist() == [-2, 2]


def test_copies_go_on_by_themselves():
    made = random.SeedGenerator(3)
    draw("normal", made)
    for copied in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert copied.state is not made.state
        expected = draw("normal", random.SeedGenerator(4))
        assert torch.equal(draw("normal", copied), expected)
        assert copied.state.numpy().tolist() == [3, 2]
    assert made.state.numpy().tolist() == [3, 1]


def test_a_trial_of_shapes_draws_nothing():
    class Noise(layers.Layer):
        def __init__(self):
            super().__init__()
            self.seeds = random.SeedGenerator(3)

        def call(self, x):
            self.seeds.next(ordered=False)
            return x + random.normal(x.shape, seed=self.seeds)

    layer = Noise()
    layer(torchkeras.Input((4,)))
    assert layer.seeds.state.numpy().tolist() == [3, 0]


def test_only_the_thread_of_a_trial_draws_nothing():
    made = random.SeedGenerator(3)
    with seeds.on_trial():
        other = threading.Thread(target=made.next)
        other.start()
        other.join()
        made.next()
    assert made.state.numpy().tolist() == [3, 1]


def test_threads_do_not_draw_in_between():
    mine = seeds.source(3, torch.device("cpu"))
    other = threading.Thread(target=random.normal, args=((5,),), kwargs={"seed": 3})
    other.start()
    other.join()
    assert torch.equal(torch.rand(5, generator=mine), random.uniform((5,), seed=3))


def test_layers_count_the_states_among_their_variables():
    class Noise(layers.Layer):
        def __init__(self):
            super().__init__()
            self.seeds = random.SeedGenerator(3)
            self.dense = layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    layer = Noise()
    layer(torch.ones(1, 2))
    assert [v.name for v in layer.variables] == ["seed_generator_state", "kernel", "bias"]
    assert [v.name for v in layer.non_trainable_variables] == ["seed_generator_state"]
    assert [v.name for v in layer.weights] == ["kernel", "bias"]
    assert layer.non_trainable_weights == []
    layer.trainable = False
    assert len(layer.non_trainable_variables) == 3


def test_stateless_calls_take_and_return_the_states():
    layer = layers.Dropout(0.5, seed=3)
    x = torch.ones(1, 50)
    layer.build((None, 50))
    out, states = layer.stateless_call([], [torch.tensor([3, 7])], x, training=True)
    assert torch.equal(out, random.dropout(x, 0.5, seed=10))
    assert states[0].tolist() == [3, 8]
    assert layer.seed_generator.state.numpy().tolist() == [3, 0]


def test_initializers_take_a_generator_of_seeds():
    made = initializers.RandomUniform(seed=random.SeedGenerator(3))
    first, second = made((4,)), made((4,))
    assert not torch.equal(first, second)
    assert torch.equal(first, initializers.RandomUniform(seed=3)((4,)))
    config = json.loads(json.dumps(made.get_config()))
    assert config["seed"]["class_name"] == "SeedGenerator"
    assert torch.equal(initializers.RandomUniform.from_config(config)((4,)), first)


# -------------------------------------------------------------------------- symbolic tensors


def test_functions_of_symbolic_tensors_are_one_node():
    x = torchkeras.Input((4,))
    made = random.SeedGenerator(3)
    outputs = [
        random.dropout(x, 0.5, seed=made),
        random.shuffle(x, axis=-1, seed=5),
        random.categorical(x, 3, seed=6),
        random.uniform((4,), x, 1.0, seed=7),
    ]
    assert [tuple(out.shape) for out in outputs] == [(None, 4), (None, 4), (None, 3), (None, 4)]
    assert [out.dtype for out in outputs] == ["float32", "float32", "int32", "float32"]
    assert made.state.numpy().tolist() == [3, 0]
    model = torchkeras.Model(x, outputs)
    assert len(model.operations) == 5
    given = torch.arange(12.0).reshape(3, 4)
    expected = [
        random.dropout(given, 0.5, seed=3),
        random.shuffle(given, 1, seed=5),
        random.categorical(given, 3, seed=6),
        random.uniform((4,), given, 1.0, seed=7),
    ]
    assert all(map(torch.equal, model(given), expected))
    again = torchkeras.Model.from_config(json.loads(json.dumps(model.get_config())))
    assert all(map(torch.equal, again(given), expected))
    made.state.assign([3, 0])
    assert all(map(torch.equal, copy.deepcopy(model)(given), expected))


def test_large_symbolic_tensors():
    x = torchkeras.Input((300, 300))
    assert random.dropout(x, 0.5, seed=1).shape == (None, 300, 300)
    assert random.shuffle(x, 2).shape == (None, 300, 300)
    rows = torchkeras.Input((300,), batch_size=300)
    for drawn in (
        random.gamma((300, 300), rows, seed=1),
        random.beta((300, 300), rows, 1.0, seed=1),
        random.binomial((300, 300), 3, rows, seed=1),
    ):
        assert drawn.shape == (300, 300)


def test_a_raw_dropout_module_is_still_refused():
    with pytest.raises(ValueError, match="raw torch module"):
        torch.nn.Dropout(0.5)(torchkeras.Input((4,)))


# ----------------------------------------------------------------------------------- arguments


def test_shapes_of_any_kind():
    expected = random.normal((2, 3), seed=1)
    for shape in ([2, 3], np.array([2, 3]), torch.tensor([2, 3]), torch.Size([2, 3])):
        assert torch.equal(random.normal(shape, seed=1), expected)
    mixed = (torch.tensor(2), np.int64(3))
    assert torch.equal(random.normal(mixed, seed=1), expected)


def test_variables_and_numpy_integers():
    ones = torchkeras.Variable(np.ones(40, "float32"))
    expected = random.dropout(torch.ones(40), 0.5, seed=1)
    assert torch.equal(random.dropout(ones, 0.5, seed=np.int64(1)), expected)
    assert torch.equal(random.gamma((40,), ones, seed=1), random.gamma((40,), 1.0, seed=1))


def test_no_gradient_flows_to_a_distribution_but_to_what_is_dropped():
    x = torch.full((50,), 2.0, requires_grad=True)
    assert not random.gamma((50,), x, seed=1).requires_grad
    assert not random.beta((50,), x, x, seed=1).requires_grad
    random.dropout(x, 0.5, seed=1).sum().backward()
    assert torch.equal(x.grad, random.dropout(torch.ones(50), 0.5, seed=1))


def test_dropped_infinities_are_zero():
    kept = random.dropout(torch.full((50,), torch.inf), 0.5, seed=1)
    assert sorted(set(kept.tolist())) == [0.0, torch.inf]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_parameters_that_torch_has_no_kernels_for(dtype):
    two = torch.full((50,), 2).to(getattr(torch, dtype))
    assert torch.equal(random.gamma((50,), two, seed=1), random.gamma((50,), 2.0, seed=1))
    assert torch.equal(random.beta((50,), two, 1, seed=1), random.beta((50,), 2.0, 1.0, seed=1))
    assert torch.equal(
        random.binomial((50,), two, 0.3, seed=1), random.binomial((50,), 2, 0.3, seed=1)
    )


@pytest.mark.parametrize(
    "name, args, kwargs, message",
    [
        ("normal", (3,), {}, r"shape must be a tuple of integers, such as \(2, 3\); received 3"),
        ("normal", ((None, 2),), {}, "known until a model runs"),
        ("normal", ((2.5,),), {}, "shape must be a tuple of integers"),
        ("normal", ((-1,),), {}, "random.normal failed: .*negative dimension"),
        ("normal", ((2,),), {"dtype": "int32"}, "must be one of floats.* received 'int32'"),
        ("normal", ((2,),), {"dtype": "foo"}, "Unknown dtype 'foo'"),
        ("normal", ((2,),), {"stddev": -1.0}, "std >= 0"),
        (
            "normal",
            ((2,),),
            {"seed": 1.5},
            "seed must be an integer, .* received 1.5 of type float",
        ),
        ("normal", ((2,),), {"seed": "a"}, "seed must be an integer"),
        ("uniform", ((2,),), {"dtype": "bool"}, "must be one of floats"),
        ("truncated_normal", ((2,),), {"dtype": "int32"}, "must be one of floats"),
        ("gamma", ((2,), 1.0), {"dtype": "int32"}, "must be one of floats"),
        ("beta", ((2,), 1.0, 1.0), {"dtype": "int32"}, "must be one of floats"),
        ("randint", ((2,), 3, 1), {}, "random.randint failed: .*from=3 >= to=1"),
        ("randint", ((2,), 0, 3), {"dtype": "float32"}, "must be one of integers"),
        ("randint", ((2,), 0, 3), {"dtype": "bool"}, "must be one of integers"),
        ("categorical", (torch.zeros(3), 2), {}, r"\(batch, classes\); received \(3,\)"),
        ("categorical", (torch.zeros(2, 3), 0), {}, "random.categorical failed"),
        ("dropout", (torch.ones(3), -0.1), {}, "rate must be a number from 0 to 1; received -0.1"),
        ("dropout", (torch.ones(3), 1.1), {}, "rate must be a number from 0 to 1"),
        ("dropout", (torch.ones(2, 3), 0.1, (5, 1, 1)), {}, "random.dropout failed"),
        ("dropout", (torch.ones(2, 3), 0.1, (7,)), {}, "random.dropout failed"),
        ("shuffle", (torch.ones(2, 3), 2), {}, r"x of shape \(2, 3\) has no axis 2"),
        ("shuffle", (torch.tensor(3),), {}, r"x of shape \(\) has no axis 0"),
        ("gamma", ((2,), -1.0), {}, "alpha must be above 0; received -1.0"),
        ("gamma", ((2,), [1.0, 0.0]), {}, "alpha must be above 0"),
        ("gamma", ((2,), [1.0, 1.0, 1.0]), {}, "random.gamma failed"),
        ("beta", ((2,), 1.0, np.zeros(2)), {}, "beta must be above 0"),
        ("binomial", ((2,), -1, 0.5), {}, "counts must be 0 or above"),
        ("binomial", ((2,), 3, 1.5), {}, "probabilities must be from 0 to 1"),
    ],
)
def test_errors(name, args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        getattr(random, name)(*args, **kwargs)


def test_errors_of_types_say_whose_they_are():
    with pytest.raises(TypeError, match="random.randint failed: 'float' object"):
        random.randint((2,), 0.5, 3)
    with pytest.raises(TypeError, match="random.normal failed: .*missing .* argument: 'shape'"):
        random.normal()
    with pytest.raises(TypeError, match="random.dropout failed"):
        random.dropout(torch.ones(3), 0.5, 3)


@pytest.mark.parametrize("seed", [1.5, "a", [1]])
def test_a_generator_of_seeds_of_no_integer(seed):
    with pytest.raises(ValueError, match="seed must be an integer"):
        random.SeedGenerator(seed)
    with pytest.raises(ValueError, match="seed must be an integer"):
        layers.Dropout(0.5, seed=seed)


def test_an_unknown_argument_of_a_generator_of_seeds():
    with pytest.raises(ValueError, match="Unrecognized keyword arguments .* 'sed'. Did you mean"):
        random.SeedGenerator(sed=3)


def test_it_is_deserialized_by_name():
    config = {"class_name": "SeedGenerator", "config": {"seed": 3, "name": "own"}}
    made = registry.deserialize("seed_generator", config)
    assert torch.equal(draw("normal", made), draw("normal", 3))


def test_dropout_changed_from_nothing_on_draws_by_its_seed():
    layer = layers.Dropout(0.0, seed=3)
    layer.rate = 0.5
    x = torch.ones(50)
    assert torch.equal(layer(x, training=True), random.dropout(x, 0.5, seed=3))
    assert torch.equal(layer(x, training=True), random.dropout(x, 0.5, seed=4))


@pytest.mark.cuda
def test_on_cuda():
    made = random.SeedGenerator(3)
    for name in FUNCTIONS:
        if name not in ("categorical", "dropout", "shuffle"):
            with torchkeras.device("cuda"):
                assert draw(name, made).is_cuda
                assert torch.equal(draw(name, 3), draw(name, 3))
    x = torch.ones(50, device="cuda")
    assert torch.equal(random.dropout(x, 0.5, seed=3), random.dropout(x, 0.5, seed=3))
    assert made.state.device.type == "cpu"
