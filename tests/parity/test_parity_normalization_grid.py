"""Activations, normalizations and noise as layers against Keras 3.15, over a grid of arguments."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

import torchkeras

sys.path.insert(0, str(Path(__file__).parent))

from layer_grid import Case, check

_MASK = np.array([[1, 1, 0], [1, 0, 1], [0, 0, 0], [1, 1, 1]], bool)
_SEQUENCE, _IMAGE = (4, 3, 5), (3, 4, 2, 6)

_ACTIVATIONS = [
    Case(name, config, shape)
    for name, config, shape in [
        ("ReLU", {}, (4, 5)),
        ("ReLU", {"max_value": 1.0}, (4, 5)),
        ("ReLU", {"max_value": 1.0, "negative_slope": 0.2}, (4, 5)),
        ("ReLU", {"negative_slope": 0.2}, (4, 3, 5)),
        ("ReLU", {"threshold": 0.5}, (4, 5)),
        ("ReLU", {"threshold": 0.5, "negative_slope": 0.3}, (4, 5)),
        ("ReLU", {"threshold": 0.5, "negative_slope": 0.3, "max_value": 1.5}, (4, 5)),
        ("ReLU", {"threshold": 1.0, "max_value": 6.0}, (4, 5)),
        ("ReLU", {"max_value": 6}, (4, 5)),
        ("ReLU", {"max_value": 0.0}, (4, 5)),
        ("LeakyReLU", {}, (4, 5)),
        ("LeakyReLU", {"negative_slope": 0.1}, (4, 3, 5)),
        ("LeakyReLU", {"negative_slope": 0.0}, (4, 5)),
        ("LeakyReLU", {"negative_slope": 2}, (4, 5)),
        ("ELU", {}, (4, 5)),
        ("ELU", {"alpha": 0.5}, (4, 3, 5)),
        ("PReLU", {}, (4, 5)),
        ("PReLU", {"alpha_initializer": "ones"}, (4, 3, 5)),
        ("PReLU", {"shared_axes": [1]}, (4, 3, 5)),
        ("PReLU", {"shared_axes": 2}, (4, 3, 5)),
        ("PReLU", {"shared_axes": (1, 2)}, _IMAGE),
        ("PReLU", {"shared_axes": [1, 2, 3]}, _IMAGE),
        ("PReLU", {"shared_axes": [3]}, _IMAGE),
        ("PReLU", {"alpha_regularizer": "l2", "alpha_constraint": "non_neg"}, (4, 5)),
        ("PReLU", {"dtype": "float64"}, (4, 5)),
        ("Softmax", {}, (4, 5)),
        ("Softmax", {"axis": 1}, (4, 3, 5)),
        ("Softmax", {"axis": -2}, (4, 3, 5)),
        ("Softmax", {"axis": [1, 2]}, (4, 3, 5)),
        ("Softmax", {"axis": (-1,)}, (4, 3, 5)),
        ("Softmax", {"axis": [-1, -3]}, _IMAGE),
        ("Softmax", {"dtype": "float64"}, (4, 5)),
    ]
]
_SEES = np.random.RandomState(1).rand(4, 3, 5) > 0.4
_SEES[1, 2] = False
_ACTIVATIONS += [
    Case("Softmax", {"axis": axis}, _SEQUENCE, call={"mask": mask})
    for axis in (-1, 1, [1, 2])
    for mask in (_SEES, _SEES[:, :1], _SEES[0], _SEES[..., :1], _SEES.astype("float32"))
]

_BATCHES = [
    Case("BatchNormalization", config, shape, training=training)
    for config, shape in [
        ({}, (6, 5)),
        ({"axis": 1}, (6, 5)),
        ({"momentum": 0.8, "epsilon": 1e-5}, (6, 4, 5)),
        ({"axis": 1}, (6, 4, 5)),
        ({"axis": 1}, _IMAGE),
        ({"axis": 2}, _IMAGE),
        ({"axis": -2}, _IMAGE),
        ({"center": False}, _IMAGE),
        ({"scale": False}, _IMAGE),
        ({"scale": False, "center": False}, (6, 5)),
        ({"axis": 1}, (3, 2, 2, 3, 2)),
        ({}, (3, 2, 2, 3, 2)),
        ({}, (3, 2, 2, 1, 3, 2)),
        ({"trainable": False}, (6, 5)),
        ({"dtype": "float64"}, (6, 5)),
        ({"beta_initializer": "ones", "gamma_initializer": "zeros"}, (6, 5)),
        ({"moving_mean_initializer": "ones", "moving_variance_initializer": "zeros"}, (6, 5)),
        ({"beta_regularizer": "l2", "gamma_constraint": "non_neg"}, (6, 5)),
        ({"renorm": True}, (6, 5)),
        ({"renorm": True, "renorm_momentum": 0.7, "momentum": 0.6}, (6, 5)),
        ({"renorm": True, "axis": 1}, _IMAGE),
        ({"renorm": True, "scale": False}, _IMAGE),
        ({"renorm": True, "center": False}, (6, 4, 5)),
        ({"renorm": True, "scale": False, "center": False}, (6, 5)),
        ({"renorm": True, "renorm_clipping": {"rmin": 0.5, "rmax": 2.0, "dmax": 0.3}}, (6, 5)),
        ({"renorm": True, "renorm_clipping": {"rmax": 1.1}}, (6, 5)),
        ({"renorm": True, "renorm_clipping": {"dmax": 0.0, "rmin": 1.0}}, (6, 5)),
    ]
    for training in (False, True)
]
_BATCHES += [
    Case("BatchNormalization", config, shape, training=training, call={"mask": mask})
    for config, shape, mask in [
        ({}, _SEQUENCE, _MASK),
        ({"axis": 1}, _SEQUENCE, _MASK),
        ({"scale": False}, _SEQUENCE, _MASK),
        ({}, (4, 3, 2, 5), np.stack([_MASK, ~_MASK], -1)),
        ({}, (4, 5), _MASK[:, 0]),
        ({"renorm": True}, _SEQUENCE, _MASK),
        ({"renorm": True, "center": False, "renorm_clipping": {"rmax": 1.5}}, _SEQUENCE, _MASK),
    ]
    for training in (False, True)
]
_BATCHES += [
    Case("BatchNormalization", {}, _SEQUENCE, training=True, mask=_MASK),
    Case("LayerNormalization", {}, _SEQUENCE, mask=_MASK),
    Case("PReLU", {}, _SEQUENCE, mask=_MASK),
]

# Keras itself fails on torch for axes that are not the last ones but lie side by side.
_SAMPLES = [
    Case(name, config, shape)
    for name, config, shape in [
        ("LayerNormalization", {}, (4, 5)),
        ("LayerNormalization", {"epsilon": 1e-5}, _SEQUENCE),
        ("LayerNormalization", {"axis": [1, 2]}, _SEQUENCE),
        ("LayerNormalization", {"axis": (2, 1)}, _SEQUENCE),
        ("LayerNormalization", {"axis": [-1]}, _SEQUENCE),
        ("LayerNormalization", {"axis": [-2, -1]}, _SEQUENCE),
        ("LayerNormalization", {"axis": [1, 3]}, _IMAGE),
        ("LayerNormalization", {"axis": [1, 2, 3]}, _IMAGE),
        ("LayerNormalization", {"center": False}, _SEQUENCE),
        ("LayerNormalization", {"scale": False}, _SEQUENCE),
        ("LayerNormalization", {"scale": False, "center": False}, _SEQUENCE),
        ("LayerNormalization", {"rms_scaling": True}, _SEQUENCE),
        ("LayerNormalization", {"rms_scaling": True, "scale": False}, _SEQUENCE),
        ("LayerNormalization", {"rms_scaling": True, "axis": [1, 2]}, _SEQUENCE),
        ("LayerNormalization", {"gamma_initializer": "zeros", "beta_initializer": "ones"}, (4, 5)),
        ("LayerNormalization", {"gamma_regularizer": "l2", "beta_constraint": "non_neg"}, (4, 5)),
        ("GroupNormalization", {"groups": 1}, (4, 6)),
        ("GroupNormalization", {"groups": 2}, (4, 6)),
        ("GroupNormalization", {"groups": 6}, (4, 6)),
        ("GroupNormalization", {"groups": -1}, (4, 3, 6)),
        ("GroupNormalization", {"groups": 3}, (4, 3, 6)),
        ("GroupNormalization", {"groups": 3}, _IMAGE),
        ("GroupNormalization", {"groups": 2, "axis": 1}, _IMAGE),
        ("GroupNormalization", {"groups": 2, "axis": 2}, _IMAGE),
        ("GroupNormalization", {"groups": 2, "axis": -2}, _IMAGE),
        ("GroupNormalization", {"groups": 3, "epsilon": 0.1}, _IMAGE),
        ("GroupNormalization", {"groups": 3, "scale": False}, _IMAGE),
        ("GroupNormalization", {"groups": 3, "center": False}, _IMAGE),
        ("GroupNormalization", {"groups": 3, "center": False, "scale": False}, (4, 6)),
        ("GroupNormalization", {"groups": 2, "gamma_regularizer": "l2"}, (2, 3, 2, 2, 4)),
        ("RMSNormalization", {}, (4, 5)),
        ("RMSNormalization", {"epsilon": 0.1}, _SEQUENCE),
        ("RMSNormalization", {"axis": [1, 2]}, _SEQUENCE),
        ("RMSNormalization", {"axis": [-1, -2]}, _SEQUENCE),
        ("UnitNormalization", {}, (4, 5)),
        ("UnitNormalization", {"axis": 1}, _SEQUENCE),
        ("UnitNormalization", {"axis": [1, 2]}, _SEQUENCE),
        ("UnitNormalization", {"axis": (-1, 1)}, _IMAGE),
    ]
]
_SAMPLES += [
    Case(name, {"dtype": "mixed_bfloat16", **config}, _SEQUENCE, atol=0.04, grad_atol=0.2)
    for name, config in (
        ("LayerNormalization", {}),
        ("GroupNormalization", {"groups": 5}),
        ("RMSNormalization", {}),
        ("BatchNormalization", {}),
        ("PReLU", {}),
        ("UnitNormalization", {}),
    )
]

# What draws: in inference nothing happens; in training the same numbers come of the same seed.
_NOISE = [
    Case(name, config, shape, training=training)
    for name, config, shape in [
        ("Dropout", {"rate": 0.4, "seed": 3}, (4, 5)),
        ("Dropout", {"rate": 0.4, "seed": 3, "noise_shape": (None, 1, 5)}, _SEQUENCE),
        ("Dropout", {"rate": 0.4, "seed": 3, "noise_shape": (4, 1, None)}, _SEQUENCE),
        ("SpatialDropout1D", {"rate": 0.4, "seed": 3}, _SEQUENCE),
        ("SpatialDropout2D", {"rate": 0.4, "seed": 3}, _IMAGE),
        ("SpatialDropout2D", {"rate": 0.4, "seed": 3, "data_format": "channels_first"}, _IMAGE),
        ("SpatialDropout3D", {"rate": 0.4, "seed": 3}, (2, 2, 3, 2, 4)),
        (
            "SpatialDropout3D",
            {"rate": 0.4, "seed": 3, "data_format": "channels_first"},
            (2, 4, 3, 2, 2),
        ),
        ("GaussianNoise", {"stddev": 0.3, "seed": 5}, (4, 5)),
        ("GaussianNoise", {"stddev": 0.0}, _SEQUENCE),
        ("GaussianDropout", {"rate": 0.3, "seed": 5}, (4, 5)),
        ("GaussianDropout", {"rate": 0.0}, _SEQUENCE),
        ("AlphaDropout", {"rate": 0.3, "seed": 5}, (4, 5)),
        ("AlphaDropout", {"rate": 0.3, "seed": 5, "noise_shape": (4, 1, 5)}, _SEQUENCE),
        ("AlphaDropout", {"rate": 0.3, "seed": 5, "noise_shape": [None, 3, 1]}, _SEQUENCE),
        ("AlphaDropout", {"rate": 0.0}, (4, 5)),
    ]
    for training in (False, True)
]

CASES = [*_ACTIVATIONS, *_BATCHES, *_SAMPLES, *_NOISE]


@pytest.mark.parametrize("case", CASES, ids=[f"{at}-{c.title}" for at, c in enumerate(CASES)])
def test_like_keras(case):
    check(case)


@pytest.mark.parametrize(
    ("name", "config", "shape"),
    [
        ("Dropout", {"rate": 0.3}, (200, 200)),
        ("SpatialDropout1D", {"rate": 0.3}, (400, 3, 50)),
        ("SpatialDropout2D", {"rate": 0.3}, (400, 3, 2, 50)),
        ("SpatialDropout2D", {"rate": 0.3, "data_format": "channels_first"}, (400, 50, 3, 2)),
        ("SpatialDropout3D", {"rate": 0.3}, (400, 2, 3, 2, 50)),
        ("GaussianNoise", {"stddev": 0.3}, (200, 200)),
        ("GaussianDropout", {"rate": 0.3}, (200, 200)),
        ("AlphaDropout", {"rate": 0.3}, (200, 200)),
    ],
)
def test_unseeded_noise_has_keras_distribution(name, config, shape):
    x = torch.full(shape, 2.0)
    torchkeras.utils.set_random_seed(1)
    found = [
        getattr(lib.layers, name)(**config)(x, training=True).numpy() for lib in (keras, torchkeras)
    ]
    theirs, ours = found
    error = 4 * theirs.std() / np.sqrt(min(theirs.size, 20_000))  # four standard errors
    assert abs(theirs.mean() - ours.mean()) < error
    assert abs(theirs.std() - ours.std()) < error
    assert (theirs == 0).mean() == pytest.approx((ours == 0).mean(), abs=0.02)
