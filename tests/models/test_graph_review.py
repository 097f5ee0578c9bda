"""What may change after a graph was run once, what it leaves behind, and its config's odd parts."""

import collections
import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules import module as modules

from torchkeras import Input, KerasTensor, Model, Sequential, graph, layers, models, regularizers

X = torch.linspace(-1, 1, 24).reshape(6, 4)


def functional():
    inputs = Input((4,))
    hidden = layers.Dense(5, activation="relu", name="a")(inputs)
    return Model(inputs, layers.Dense(3, name="b")(hidden))


def sequential():
    return Sequential(
        [Input((4,)), layers.Dense(5, activation="relu", name="a"), layers.Dense(3, name="b")]
    )


@pytest.fixture(params=[functional, sequential])
def model(request):
    made = request.param()
    made(X)  # the plan is compiled
    return made


def by_hand(model, x=X):
    return model.get_layer("b")(model.get_layer("a")(x))


# ------------------------------------------------------------------------ after the plan was made


def ones(inputs):
    return torch.ones(len(inputs), 5)


class OnesDense(layers.Dense):
    def call(self, inputs):
        return ones(inputs)


CHANGES = {
    "activation": lambda a: setattr(a, "activation", torch.tanh),
    "module": lambda a: setattr(a, "linear", nn.Linear(4, 5)),
    "call": lambda a: setattr(a, "call", ones),
    "forward": lambda a: setattr(a, "forward", ones),
    "class": lambda a: setattr(a, "__class__", OnesDense),
    "parametrization": lambda a: nn.utils.parametrizations.weight_norm(a.linear, dim=None),
    "double": lambda a: a.double(),
    "policy": lambda a: setattr(a, "dtype_policy", "mixed_bfloat16"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_layer_changed_after_the_plan_is_called_as_it_is_now(model, change):
    before = model(X)
    CHANGES[change](model.get_layer("a"))
    assert torch.equal(model(X), by_hand(model))
    if change not in ("parametrization", "double"):
        assert not torch.equal(model(X), before)


def test_a_call_taken_back_is_the_classs_again(model):
    before = model(X)
    layer = model.get_layer("a")
    layer.call = ones
    model(X)
    del layer.call
    assert torch.equal(model(X), before)


def test_a_call_replaced_in_the_class_is_used(monkeypatch):
    monkeypatch.setattr(layers.Dense, "call", lambda self, x: torch.full((len(x), self.units), 2.0))
    assert functional()(X).tolist() == [[2.0] * 3] * 6


@pytest.mark.parametrize(
    "register",
    [
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_backward_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_hooks_of_a_layer_run_once_a_call(model, register):
    seen = []
    handle = getattr(model.get_layer("a"), register)(lambda *given: seen.append(1))
    model(X).sum().backward()
    handle.remove()
    model(X).sum().backward()
    assert seen == [1]


@pytest.mark.parametrize(
    "register",
    ["forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"],
)
@pytest.mark.filterwarnings("ignore")
def test_hooks_of_every_module_see_each_layer(model, register):
    seen = []

    def note(module, *given):
        if isinstance(module, layers.Dense):
            seen.append(module.name)

    handle = getattr(modules, f"register_module_{register}")(note)
    try:
        model(X).sum().backward()
    finally:
        handle.remove()
    model(X)
    assert sorted(seen) == ["a", "b"]


def test_an_activity_regularizer_given_later_counts_each_call_once(model):
    layer = model.get_layer("a")
    layer.activity_regularizer = regularizers.L2(0.5)
    for _ in range(3):
        model(X)
    expected = 0.5 * layer(X).square().sum() / 6
    model(X)
    assert [float(one) for one in model.losses] == pytest.approx([float(expected)])


@pytest.mark.filterwarnings("ignore")
def test_dynamic_quantization_of_a_model_that_was_called(model):
    before = model(X)
    model = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)
    assert 0 < float((model(X) - before).abs().max()) < 0.2


def test_a_layer_of_a_graph_is_not_replaced_without_effect():
    model = functional()
    with pytest.raises(ValueError, match="clone_model"):
        setattr(model, "1", nn.Linear(4, 5))


def test_threads_that_find_the_plan_out_of_date_get_the_right_numbers(model):
    expected, wrong = model(X), []

    def work():
        for _ in range(50):
            graph.layers_changed()
            if not torch.equal(model(X), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("is_run_before", [False, True])
def test_torch_compile_takes_the_whole_graph(is_run_before):
    torch._dynamo.reset()
    inputs = Input((4,))
    first = layers.Dense(5, activation="relu")(inputs)
    joined = layers.Add()([first, layers.Dense(5)(first)]) * 2
    model = Model(inputs, layers.Dense(3)(joined))
    if is_run_before:
        model(X)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for _ in range(2):
        torch.testing.assert_close(compiled(X), model(X))


# ------------------------------------------------------------------------------------ left behind


def nested_lists():
    class Lists(layers.Layer):
        def __init__(self):
            super().__init__()
            self.parts = [layers.Dense(4)]
            self.table = {"a": layers.Dense(4)}

        def call(self, inputs):
            return self.parts[0](self.table["a"](inputs))

    inputs = Input((4,))
    return Model(inputs, Lists()(inputs))


@pytest.mark.parametrize("make", [functional, sequential, nested_lists])
def test_a_model_that_was_called_goes_without_the_garbage_collector(make):
    gc.collect()
    gc.disable()
    try:
        model = make()
        model(X)
        held = [weakref.ref(part) for part in model.modules()]
        del model
        assert all(reference() is None for reference in held)
    finally:
        gc.enable()


def test_lists_of_layers_are_tracked_after_a_copy():
    model = copy.deepcopy(nested_lists())
    layer = model.layers[1]
    layer.parts.append(layers.Dense(2))
    layer.parts[-1].build((None, 4))
    assert len(layer.trainable_weights) == 6


def test_an_output_that_nobody_holds_says_so():
    layer = layers.Dense(3)
    layer(Input((4,)))
    with pytest.raises(AttributeError, match="nobody holds"):
        layer.output  # noqa: B018


def test_a_mask_given_to_a_model_stays_off_the_callers_tensor():
    class Total(layers.Layer):
        def call(self, inputs, mask=None):
            kept = inputs if mask is None else inputs * mask[..., None]
            return kept.sum(1)

    inputs = Input((2, 1))
    model = Model(inputs, Total()(inputs))
    x = torch.tensor([[[1.0], [2.0]]])
    mask = torch.tensor([[True, False]])
    assert float(model(x, mask=mask)) == 1
    assert float(model(x)) == 3
    assert float(model(x, mask=~mask)) == 2
    assert not hasattr(x, "_keras_mask")


# --------------------------------------------------------------------------------------- configs

Pair = collections.namedtuple("Pair", "a b")


class Difference(layers.Layer):
    def call(self, inputs):
        return inputs[0] - inputs[1]


class Pairs(layers.Layer):
    def call(self, inputs):
        return Pair(inputs, inputs * 2)


class To(layers.Layer):
    def call(self, inputs, dtype=None):
        return inputs.to(dtype)


CALLS = {
    "index of numbers": lambda x: x[0, 1],
    "index of one number in a tuple": lambda x: x[(1,)],
    "index of a list": lambda x: x[[0, 1, 1]],
    "index of a list behind a slice": lambda x: x[:, [0, 2]],
    "dtype of a function": lambda x: torch.sum(x, dtype=torch.float64),
    "dtype of a method": lambda x: x.type(torch.int32),
    "dtype of a layer": lambda x: To()(x, dtype=torch.float64),
    "function of a module in torch": lambda x: torch.linalg.norm(x, dim=-1),
    "array before a tensor": lambda x: np.array([1, 2, 3], dtype="float32") - x,
    "numpy's number before a tensor": lambda x: np.float32(2) / (x + 9),
    "named tuple as input": lambda x: Difference()(Pair(x, x * 2)),
    "named tuple as output": lambda x: Pairs()(x).b,
}


@pytest.mark.parametrize("call", CALLS)
def test_odd_arguments_of_calls_survive_json_pickle_and_copy(call):
    inputs = Input((4, 3))
    model = Model(inputs, CALLS[call](inputs))
    x = torch.arange(36.0).reshape(3, 4, 3)
    custom = {"Difference": Difference, "Pairs": Pairs, "To": To}
    expected = model(x)
    again = [
        models.model_from_json(model.to_json(), custom_objects=custom),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ]
    for other in again:
        found = other(x)
        assert found.dtype is expected.dtype
        assert torch.equal(found, expected)


def test_the_numbers_of_numpy_before_a_tensor():
    inputs = Input((3,))
    model = Model(inputs, np.array([1, 2, 3], dtype="float32") - inputs)
    assert model(torch.ones(1, 3)).tolist() == [[0.0, 1.0, 2.0]]


def test_a_config_of_many_calls_is_linear():
    layer, inputs = layers.Dense(4), Input((4,))
    outputs = inputs
    for _ in range(300):
        outputs = layer(outputs)
    config = Model(inputs, outputs).get_config()
    calls = config["layers"][1]["inbound_nodes"]
    places = [call["args"][0]["config"]["keras_history"] for call in calls]
    assert [place[1] for place in places] == [0, *range(299)]


def test_a_model_cut_at_two_outputs_of_one_call():
    inputs = Input((3,))
    left, right = torch.split(inputs, [1, 2], dim=-1)
    model = Model([left, right], right - left)
    assert model([torch.ones(1, 1), torch.zeros(1, 2)]).tolist() == [[-1.0, -1.0]]
    with pytest.raises(ValueError, match="Graph disconnected: output 0 of 'split"):
        Model(right, right - left)


def test_a_symbolic_tensor_made_by_hand_is_no_input():
    tensor = KerasTensor((None, 3))
    with pytest.raises(ValueError, match="Graph disconnected"):
        Model(tensor, tensor * 2)


def test_a_model_from_the_middle_of_a_chain():
    x = Input((4,))
    a = layers.Dense(3)(x)
    b = layers.Dense(4)(a)
    c = layers.Dense(5)(b)
    whole, part = Model(x, c), Model(b, c)
    assert len(part.layers) == 2
    values = np.random.rand(6, 4).astype("float32")
    inner = Model(x, b)(values)
    np.testing.assert_array_equal(part(inner).detach(), whole(values).detach())


def test_an_input_that_is_left_out():
    class First(layers.Layer):
        def call(self, inputs):
            return inputs["first"] * 2

    assert First()({"first": Input((3,)), "second": None}).shape == (None, 3)


def test_add_loss_takes_the_inputs_of_keras_2():
    class Penalized(layers.Layer):
        def call(self, inputs):
            self.add_loss(inputs.mean(), inputs=inputs)
            return inputs

    layer = Penalized()
    layer(np.full((2, 3), 4.0))
    assert float(layer.losses[0]) == 4


def test_run_eagerly_may_be_set():
    x = Input((4,))
    model = Model(x, layers.Dense(1)(x))
    with pytest.raises(ValueError, match="not compiled"):
        model.run_eagerly = True
    model.compile("sgd", "mse")
    model.run_eagerly = True
    model.fit(np.ones((9, 4)), np.ones(9), batch_size=3, epochs=2, verbose=0)
    assert model.step_report().kind == "eager"
