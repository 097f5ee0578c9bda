"""How a layer is compared with Keras 3.15: one case of the grid of all layers."""

import dataclasses
import json
from typing import Any

import keras
import numpy as np
import torch

import torchkeras
from torchkeras import layers, tree


@dataclasses.dataclass
class Case:
    """A layer with its arguments, and what it is called on.

    Args:
        name: of the class.
        config: its arguments; a dictionary with a ``class_name`` in it becomes an inner layer.
        shapes: of the input, the batch in front; a list of shapes for several inputs.
        training: whether the call is one of training.
        call: further arguments of the call, arrays become tensors.
        ids: inputs are whole numbers below this.
        positive: inputs are from 0 to 1.
        gradients: whether gradients are compared (of what is smooth where it is tried).
        atol: how far outputs may differ.
        grad_atol: how far gradients may differ.
        same_config: whether Keras writes the same config.
        names: whether the weights have Keras' names.
        mask: an array of booleans that the first input carries.
        spread: whether several inputs are arguments of their own, not a list.
    """

    name: str
    config: dict[str, Any]
    shapes: Any
    training: bool = False
    call: dict[str, Any] = dataclasses.field(default_factory=dict)
    ids: int | None = None
    positive: bool = False
    gradients: bool = True
    atol: float = 1e-5
    grad_atol: float = 1e-5
    same_config: bool = True
    names: bool = True
    mask: Any = None
    spread: bool = False

    @property
    def title(self):
        """For pytest's list: the class and its arguments."""
        given = ",".join(f"{key}={_short(value)}" for key, value in self.config.items())
        return f"{self.name}({given}) on {self.shapes}{' training' if self.training else ''}"


def _short(value):
    return value.get("class_name", "…") if isinstance(value, dict) else value


def _made(lib, value):
    """Inner layers of a config, in one of the libraries."""
    if isinstance(value, dict) and "class_name" in value:
        inner = {key: _made(lib, part) for key, part in value.get("config", {}).items()}
        # Numbers in names would count the layers made before.
        return getattr(lib.layers, value["class_name"])(**{"name": "inner", **inner})
    if isinstance(value, list):
        return [_made(lib, part) for part in value]
    return value


def make(lib, case):
    """The layer of a case, in one of the libraries."""
    config = {key: _made(lib, value) for key, value in case.config.items()}
    return getattr(lib.layers, case.name)(**config, name="layer")


def _inputs(case):
    several = isinstance(case.shapes, list)
    found = []
    for at, shape in enumerate(case.shapes if several else [case.shapes]):
        random = np.random.RandomState(9 + at)
        if case.ids is not None:
            found.append(torch.tensor(random.randint(0, case.ids, shape)))
            continue
        x = random.rand(*shape) if case.positive else random.randn(*shape) * 1.5
        found.append(torch.tensor(x.astype("float32"), requires_grad=True))
    return found if several else found[0]


def _call(lib, layer, case):
    inputs = _inputs(case)
    call = tree.map_structure(
        lambda value: torch.tensor(value) if isinstance(value, np.ndarray) else value, case.call
    )
    if case.mask is not None:
        layers.masks.use()  # as the layer does that makes one
        (inputs[0] if isinstance(inputs, list) else inputs)._keras_mask = torch.tensor(case.mask)
    given = inputs if case.spread else [inputs]
    return inputs, layer(*given, training=case.training, **call)


def _random_like(weights):
    values = []
    for at, weight in enumerate(weights):
        shape, dtype = tuple(weight.shape), str(weight.dtype)
        random = np.random.RandomState(100 + at)
        if "float" not in dtype:
            values.append(weight.numpy())
        elif "var" in weight.name:
            values.append(np.asarray(random.rand(*shape) + 0.5))
        else:
            values.append(np.asarray(random.randn(*shape) * 0.4))
    return values


def _leaves(structure):
    return [leaf for leaf in tree.flatten(structure) if leaf is not None]


def _loss(outputs):
    generator = torch.Generator().manual_seed(3)
    total = 0.0
    for one in _leaves(outputs):
        if one.is_floating_point():
            total = total + (one * torch.rand(one.shape, generator=generator)).sum()
    return total


def check(case: Case) -> None:
    """Compare a layer with Keras': weights, outputs, gradients, state, shapes, configs.

    Raises:
        AssertionError: where they differ.
    """
    theirs, ours = make(keras, case), make(torchkeras, case)
    _call(keras, theirs, case), _call(torchkeras, ours, case)  # builds them
    assert [tuple(w.shape) for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    if case.names:
        assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    assert [w.trainable for w in ours.weights] == [w.trainable for w in theirs.weights]
    values = _random_like(theirs.weights)
    theirs.set_weights(values), ours.set_weights(values)
    for layer in (theirs, ours):
        if hasattr(layer, "reset_state") and getattr(layer, "stateful", False):
            layer.reset_state()

    x1, out1 = _call(keras, theirs, case)
    x2, out2 = _call(torchkeras, ours, case)
    assert len(_leaves(out2)) == len(_leaves(out1))
    for mine, other in zip(_leaves(out2), _leaves(out1), strict=True):
        assert mine.dtype == other.dtype and mine.shape == other.shape, (mine.shape, other.shape)
        np.testing.assert_allclose(_np(mine), _np(other), rtol=1e-5, atol=case.atol)

    if case.gradients and any(one.requires_grad for one in _leaves(out1)):
        _loss(out1).backward()
        _loss(out2).backward()
        for mine, other in zip(_leaves(x2), _leaves(x1), strict=True):
            if other.grad is not None:
                _close(mine.grad, other.grad, case, "of the input")
        for mine, other in zip(ours.weights, theirs.weights, strict=True):
            if other.trainable and other.value.grad is not None:
                gradient = mine.from_torch(mine.parameter.grad)
                _close(gradient, other.value.grad, case, f"of {mine.path}")
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(
            mine.numpy(), other.numpy(), rtol=1e-5, atol=case.atol, err_msg=mine.path
        )
    _check_shapes(case, theirs, ours)
    _check_configs(case, theirs, ours)


def _np(tensor):
    return tensor.detach().float().numpy() if tensor.is_floating_point() else tensor.numpy()


def _close(mine, other, case, what):
    np.testing.assert_allclose(
        _np(mine), _np(other), rtol=1e-4, atol=case.grad_atol, err_msg=f"gradient {what}"
    )


def _check_shapes(case, theirs, ours):
    free = [(None, *shape[1:]) for shape in _as_list(case.shapes)]
    for shapes in (_as_list(case.shapes), free):
        given = shapes if isinstance(case.shapes, list) else shapes[0]
        given = given if case.spread else [given]
        try:
            wanted = theirs.compute_output_shape(*given)
        except Exception:  # Keras itself cannot say
            continue
        found = ours.compute_output_shape(*given)
        plain = json.dumps(found, default=list), json.dumps(wanted, default=list)
        assert plain[0] == plain[1], (found, wanted)


def _as_list(shapes):
    return list(shapes) if isinstance(shapes, list) else [shapes]


def _check_configs(case, theirs, ours):
    config = ours.get_config()
    if case.same_config:
        assert config == theirs.get_config()
        assert layers.serialize(ours) == keras.layers.serialize(theirs)
    again = type(ours).from_config(config)
    assert again.get_config() == config
