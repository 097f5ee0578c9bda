"""The names of ``keras`` itself, ``keras.config`` and what each of them does."""

import copy
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import torchkeras as keras
from torchkeras import config, layers

X, Y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")


def _compiled():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_every_name_is_there():
    missing = [name for name in keras.__all__ if not hasattr(keras, name)]
    assert not missing
    assert callable(keras.remat) and keras.ops.relu(torch.tensor(-1.0)) == 0


def test_import_loads_neither_the_functions_of_ops_nor_the_backend():
    code = "import sys, torchkeras; print([m for m in sys.modules if m.startswith('torchkeras.')])"
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(keras.__file__))}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    ).stdout
    assert "'torchkeras.tree'" in found
    assert "torchkeras.ops.numpy" not in found and "torchkeras.backend" not in found


@pytest.mark.parametrize("name", ["Quantizer", "SymbolicScope"])
def test_what_has_no_meaning_says_so(name):
    with pytest.raises(ValueError, match=f"{name} is not supported"):
        getattr(keras, name)()


def test_quantized_policies_are_refused():
    for name in keras.dtype_policies.__all__:
        if name.startswith(("Quantized", "Int4", "GPTQ", "AWQ")):
            with pytest.raises(ValueError, match="does not quantize"):
                getattr(keras.dtype_policies, name)("int8", "float32")


# ------------------------------------------------------------------------------------ settings


def test_the_backend_is_torch():
    config.set_backend("torch")
    assert config.backend() == "torch" and config.is_nnx_enabled() is False
    with pytest.raises(ValueError, match="'jax'"):
        config.set_backend("jax")


def test_traces_are_whole():
    config.disable_traceback_filtering()
    assert config.is_traceback_filtering_enabled() is False
    with pytest.raises(ValueError, match="shown whole"):
        config.enable_traceback_filtering()


def test_flash_attention_is_torchs_switch():
    assert config.is_flash_attention_enabled() is None
    try:
        config.disable_flash_attention()
        assert config.is_flash_attention_enabled() is False
        assert torch.backends.cuda.flash_sdp_enabled() is False
    finally:
        config.enable_flash_attention()
    assert torch.backends.cuda.flash_sdp_enabled() is True


def test_without_interactive_logging_the_bar_and_the_summary_go_to_a_logger(capsys, caplog):
    config.disable_interactive_logging()
    assert config.is_interactive_logging_enabled() is False
    model = _compiled()
    with caplog.at_level(logging.INFO, "torchkeras"):
        model.fit(X, Y, epochs=2, verbose=2)
        model.summary()
    assert capsys.readouterr().out == ""
    assert "Epoch 2/2" in caplog.text and "Trainable params: 4" in caplog.text
    config.enable_interactive_logging()
    model.fit(X, Y, verbose=2)
    assert "1/1" in capsys.readouterr().out


def test_runs_are_capped():
    model = _compiled()
    config.set_max_epochs(2)
    config.set_max_steps_per_epoch(3)
    assert (config.max_epochs(), config.max_steps_per_epoch()) == (2, 3)
    with pytest.warns(UserWarning, match="Limiting"):
        history = model.fit(X, Y, batch_size=1, epochs=5, verbose=0)
    assert history.epoch == [0, 1] and int(model.optimizer.iterations) == 6
    with pytest.warns(UserWarning, match="Limiting steps_per_epoch to 3"):
        assert len(model.predict(X, batch_size=2, verbose=0)) == 6
    config.set_max_epochs(None)
    config.set_max_steps_per_epoch(None)
    assert len(model.fit(X, Y, batch_size=2, epochs=3, verbose=0).epoch) == 3
    assert int(model.optimizer.iterations) == 18


def test_a_device_for_a_block():
    with keras.device("cpu:0"):
        assert keras.Variable(1.0).device == torch.device("cpu")
    with pytest.raises(ValueError, match="Unknown device"), keras.device(device_name="abacus"):
        pass


def test_variables_take_no_layout():
    with pytest.raises(ValueError, match="layout"):
        keras.Variable(1.0, layout="x")


# ------------------------------------------------------------------------- operations, functions


def test_a_function_begins_at_tensors_made_by_hand():
    a, b = keras.KerasTensor((None, 2)), keras.KerasTensor((None, 2))
    function = keras.Function([a, b], keras.ops.relu(a - b))
    out = function([np.zeros((1, 2), "float32"), torch.tensor([[1.0, -2.0]])])
    assert out.tolist() == [[0.0, 2.0]]
    assert [tensor.shape for tensor in function.outputs] == [(None, 2)]
    assert function([keras.Input((2,)), keras.Input((2,))]).shape == (None, 2)
    with pytest.raises(ValueError, match="takes inputs of the shapes"):
        function([torch.ones(1, 2)])
    with pytest.raises(ValueError, match="needs inputs and outputs"):
        keras.Function([], a)


class Scale(keras.Operation):
    def __init__(self, factor, name=None):
        super().__init__(name=name)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def test_an_operation_is_part_of_models():
    x = keras.Input((3,))
    model = keras.Model(x, Scale(2.0)(layers.Dense(2)(x)))
    expected = model(X)
    config_again = keras.models.model_from_json(model.to_json(), custom_objects={"Scale": Scale})
    config_again.set_weights(model.get_weights())
    for again in (copy.deepcopy(model), config_again):
        torch.testing.assert_close(again(X), expected)
    model.summary(print_fn=lambda text: None)
    assert model.operations[-1].input.shape == (None, 2)
    with pytest.raises(NotImplementedError, match="must implement call"):
        keras.Operation()(1)
    with pytest.raises(ValueError, match="without '/'"):
        Scale(1.0, name="a/b")
    with pytest.raises(AttributeError, match="never called on a symbolic tensor"):
        _ = Scale(1.0).output


# ------------------------------------------------------------------------------ rematerialization


def test_remat_computes_again_and_gives_the_same_gradient():
    calls = []

    def function(x, power=2.0):
        calls.append(power)
        return torch.sin(x) ** power

    x = torch.ones(3, requires_grad=True)
    (expected,) = torch.autograd.grad(function(x, power=3.0).sum(), x)
    (found,) = torch.autograd.grad(keras.remat(function)(x, power=3.0).sum(), x)
    assert torch.equal(found, expected) and calls == [3.0] * 3
    with torch.no_grad():
        keras.remat(function)(x)
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("scope", "times"),
    [
        ({}, 4),
        ({"mode": "activations"}, 3),
        ({"mode": "larger_than", "output_size_threshold": 8}, 3),
        ({"mode": "larger_than", "output_size_threshold": 32}, 2),
        ({"mode": "list_of_layers", "layer_names": ["noisy"]}, 3),
        ({"mode": None}, 2),
    ],
)
def test_layers_made_in_a_scope_compute_again(scope, times):
    seen = []

    class Noisy(layers.Layer):
        def __init__(self, activation=None, **kwargs):
            super().__init__(**kwargs)
            self.activation = activation

        def call(self, x):
            if self.activation is None:
                seen.append(self.name)
                return torch.sin(x) * (torch.rand_like(x) if self.training else 1.0)
            return self.activation(x)

        def compute_output_shape(self, input_shape):
            return input_shape

    def activation(x):
        seen.append("activation")
        return torch.sin(x)

    with keras.RematScope(**scope):
        chain = [Noisy(name="noisy"), Noisy(activation, name="other")]
    x = torch.ones(4, 4, requires_grad=True)
    torch.manual_seed(0)
    middle = chain[0](x, training=True)
    chain[1](middle[:, :1] if scope.get("output_size_threshold") else middle).sum().backward()
    assert len(seen) == times
    plain, expected = torch.ones(4, 4, requires_grad=True), []
    torch.manual_seed(0)
    middle = torch.sin(plain) * torch.rand_like(plain)
    expected = torch.sin(middle[:, :1] if scope.get("output_size_threshold") else middle)
    expected.sum().backward()
    torch.testing.assert_close(x.grad, plain.grad)


def test_training_in_a_scope_is_that_without():
    losses = []
    for scope in (keras.RematScope(mode=None), keras.RematScope()):
        keras.utils.set_random_seed(1)
        with scope:
            hidden = [layers.Dense(8, "relu"), layers.Dropout(0.3), layers.Dense(1)]
        model = keras.Sequential([keras.Input((3,)), *hidden])
        model.compile("adam", "mse", run_eagerly=scope.mode is None)
        losses.append(model.fit(X, Y, batch_size=4, epochs=3, verbose=0).history["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert "RematScope" in str(model.step_report())


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be one of"):
        keras.RematScope("half")
