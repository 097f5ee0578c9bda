"""A built model is an nn.Module that a torch program takes without knowing where it came from."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras.layers import BatchNormalization, Dense, Dropout, Flatten, Input, Reshape
from torchkeras.models import Sequential


def compiled():
    model = Sequential(
        [Dense(6, activation="tanh", input_dim=4), BatchNormalization(), Dropout(0.2), Dense(1)]
    )
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.random.rand(40, 4), np.random.rand(40, 1), epochs=2, verbose=0)
    return model


X = torch.linspace(-1, 1, 20).reshape(5, 4)


def test_parameters_are_plain_and_state_dict_holds_only_weights():
    model = compiled()
    assert all(type(p) is nn.Parameter for p in model.parameters())
    assert len(list(model.parameters())) == 6
    assert not [key for key in model.state_dict() if "loss" in key or "optim" in key]


def test_a_loss_module_given_to_compile_is_no_part_of_the_model():
    model = Sequential([Dense(1, input_dim=2)])
    before = list(model.state_dict())
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0]))
    model.compile("sgd", loss)
    model.fit(np.random.rand(8, 2), np.ones((8, 1)), verbose=0)
    assert list(model.state_dict()) == before
    assert model.loss is loss


def test_state_dict_round_trip_through_torch_save(tmp_path):
    model, other = compiled(), compiled()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    other.load_state_dict(torch.load(tmp_path / "w.pt"))
    assert torch.equal(model(X), other(X))


def test_to_dtype_and_back():
    model = compiled()
    before = model(X)
    model.double()
    assert model.layers[0].kernel.dtype == "float64"
    model.float()
    assert torch.allclose(model(X), before)


def test_deepcopy_and_pickle_of_a_compiled_model_go_on_training_apart():
    model = compiled()
    x, y = np.random.rand(20, 4), np.random.rand(20, 1)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    before = model.get_weights()
    curves = []
    for twin in copies:
        assert torch.equal(twin(X), model(X))
        torch.manual_seed(5)
        curves.append(twin.fit(x, y, epochs=2, verbose=0, shuffle=False).history["loss"])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    torch.manual_seed(5)
    # the optimizer's state came along: all three go on alike
    curve = model.fit(x, y, epochs=2, verbose=0, shuffle=False).history["loss"]
    assert curve == curves[0] == curves[1]
    assert not np.array_equal(before[0], model.get_weights()[0])


def test_inside_a_plain_torch_sequential():
    model = compiled()
    outer = nn.Sequential(nn.Linear(4, 4), model, nn.ReLU())
    assert outer(X).shape == (5, 1)
    outer.train()
    assert model.training and model.layers[2].training
    outer.eval()
    assert not model.layers[2].training


def test_hand_written_loop_trains_like_the_same_torch_modules():
    model = Sequential([Dense(6, activation="tanh", input_dim=4), Dense(1)])
    plain = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    for source, target in zip(model.parameters(), plain.parameters(), strict=True):
        target.data.copy_(source)
    x, y = torch.randn(32, 4), torch.randn(32, 1)
    losses = []
    for network in (model, plain):
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        network.train()
        for _ in range(10):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(network(x), y)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_hooks_fire():
    model = compiled()
    seen = []
    model.layers[0].register_forward_hook(lambda module, args, output: seen.append(output.shape))
    model.layers[0].linear.register_forward_hook(lambda *_: seen.append("linear"))
    model(X)
    assert seen == ["linear", (5, 6)]


def test_export_gives_the_same_outputs():
    model = compiled()
    exported = torch.export.export(model, (X,))
    assert torch.allclose(exported.module()(X), model(X), atol=1e-6)


def test_torch_compile_full_graph():
    model = compiled()
    fast = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.allclose(fast(X), model(X), atol=1e-6)
    model.train()
    assert fast(X).requires_grad


def test_functional_call_and_vmap():
    model = Sequential([Dense(3, input_dim=4)])
    weights = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    assert torch.func.functional_call(model, weights, (X,)).abs().sum() == 0


def test_an_unbuilt_model_says_why_it_has_no_parameters():
    model = Sequential([Dense(3)])
    with pytest.raises(ValueError, match="not built, so it has no parameters"):
        torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="not built"):
        model.set_weights([np.zeros((2, 3)), np.zeros(3)])
    assert model.to("cpu") is model and model.train().training
    with pytest.raises(ValueError, match="not built"):
        model.count_params()


@pytest.mark.parametrize("convert", [lambda m: m.double(), lambda m: m.to(torch.bfloat16)])
def test_a_converted_model_computes_and_trains_in_its_dtype(convert):
    model = convert(compiled())
    dtype = model.layers[0].linear.weight.dtype
    assert model(X).dtype is dtype and model(X.double()).dtype is dtype
    before = model.get_weights()
    model.fit(np.random.rand(8, 4), np.random.rand(8, 1), verbose=0)
    assert not np.array_equal(before[0], model.get_weights()[0])
    assert model.layers[0].linear.weight.dtype is dtype
    assert model.layers[0].get_config()["dtype"]["config"]["name"] == str(dtype)[6:]


def test_a_torch_module_keeps_its_own_dtype():
    assert Sequential([nn.Linear(4, 2).double()])(X).dtype is torch.float64


def test_embedding_takes_integers_and_a_tuple_is_refused_by_name():
    model = Sequential([Input((3,), dtype="int32"), nn.Embedding(10, 4)])
    assert model.output_shape == (None, 3, 4)
    assert model(np.zeros((2, 3), dtype="int64")).shape == (2, 3, 4)
    model.add(nn.Flatten())
    model.add(nn.Linear(12, 1))
    model.compile("sgd", "mse")
    model.fit(np.zeros((4, 3), dtype=int), np.ones(4), verbose=0)
    with pytest.raises(TypeError, match="returned tuple where one tensor"):
        Sequential([Input((5, 4)), nn.LSTM(4, 8, batch_first=True)])


def test_attributes_of_a_model_are_modules_but_not_layers_of_it():
    model = Sequential([Dense(2, input_dim=4)])
    model.extra = nn.Linear(1, 7)
    model.teacher = Sequential([Dense(3, input_dim=9)])
    assert model(X).shape == (5, 2) and len(model.layers) == 1 and len(model.weights) == 2
    model.add(Dense(1))
    assert model.pop() is not model.extra and model(X).shape == (5, 2)
    assert len(list(model.parameters())) == 6
    assert copy.deepcopy(model)(X).shape == (5, 2)


def test_a_subclass_may_keep_its_layers_as_attributes():
    class Mine(Sequential):
        def __init__(self):
            super().__init__()
            self.hidden = Dense(3)
            self.add(Input((4,)))
            self.add(self.hidden)

    model = Mine()
    assert len(model.weights) == 2 and model(X).shape == (5, 3)


def test_export_with_a_dynamic_batch():
    model = compiled()
    batch = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(model, (X,), dynamic_shapes=({0: batch},))
    x = torch.randn(9, 4)
    assert torch.allclose(exported.module()(x), model(x), atol=1e-6)


def test_reshape_and_flatten_compile_to_one_graph():
    model = Sequential([Input((4,)), Reshape((2, -1)), Flatten(), Dense(1)])
    fast = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.allclose(fast(X), model(X))


def test_parameters_frozen_the_torch_way_do_not_count_as_trainable():
    model = compiled()
    model.layers[0].requires_grad_(False)
    assert [v.name for v in model.trainable_weights] == ["gamma", "beta", "kernel", "bias"]
    assert [v.name for v in model.weights][:2] == ["kernel", "bias"]


def test_a_custom_loop_written_for_keras_on_torch():
    model = Sequential([Dense(2, input_dim=4), Dense(1)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    loss = (model(X, training=True) ** 2).mean()
    model.zero_grad()
    loss.backward()
    gradients = [v.value.grad for v in model.trainable_weights]
    assert [tuple(g.shape) for g in gradients] == [v.shape for v in model.trainable_weights]
    model.optimizer.apply(gradients, model.trainable_weights)
    for old, new, gradient in zip(before, model.get_weights(), gradients, strict=True):
        np.testing.assert_allclose(new, old - 0.01 * gradient.numpy(), rtol=1e-5, atol=1e-7)
