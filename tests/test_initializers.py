import math
import pickle
import random

import numpy as np
import pytest
import torch

from torchkeras import config, eras, initializers
from torchkeras.random import set_random_seed

RANDOM = ["RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Orthogonal"] + [
    "GlorotUniform",
    "GlorotNormal",
    "HeUniform",
    "HeNormal",
    "LecunUniform",
    "LecunNormal",
]


def equal(first, second):
    return torch.equal(first, second)


# --------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize("name", RANDOM)
def test_an_initializer_repeats_itself_and_no_other(name):
    make = getattr(initializers, name)
    one, other = make(), make()
    assert equal(one((8, 12)), one((8, 12)))
    assert not equal(one((8, 12)), other((8, 12)))
    assert equal(make(seed=3)((8, 12)), make(seed=3)((8, 12)))
    assert not equal(make(seed=3)((8, 12)), make(seed=4)((8, 12)))
    assert one.get_config()["seed"] is None
    assert type(one.seed) is int


def test_the_global_seed_makes_runs_repeat():
    set_random_seed(5)
    first = initializers.get("glorot_uniform")((3, 4))
    set_random_seed(5)
    assert equal(initializers.get("glorot_uniform")((3, 4)), first)


@pytest.mark.parametrize("era", ["1", "2"])
def test_in_old_eras_each_call_draws_a_seed_from_numpy(era):
    with eras.using(era):
        made = initializers.GlorotUniform()
        np.random.seed(7)
        first, second = made((3, 4)), made((3, 4))
        assert not equal(first, second)
        np.random.seed(7)
        random.seed(99)
        assert equal(made((3, 4)), first)
        fixed = initializers.GlorotUniform(seed=1)
        assert equal(fixed((3, 4)), fixed((3, 4)))


@pytest.mark.parametrize("seed", [1.5, "7", [1]])
def test_bad_seeds(seed):
    with pytest.raises(ValueError, match="HeNormal: seed must be an integer or None"):
        initializers.HeNormal(seed=seed)


def test_any_integer_is_a_seed():
    assert initializers.HeNormal(seed=np.int64(3)).get_config()["seed"] == 3
    assert initializers.HeNormal(seed=-1)((2, 2)).isfinite().all()
    assert initializers.HeNormal(seed=2**70)((2, 2)).isfinite().all()


def test_torchs_own_generator_is_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    initializers.GlorotUniform()((3, 3))
    assert equal(torch.rand(3), expected)


# ------------------------------------------------------------------------------ distributions


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 2 / 1000),
        ("glorot_normal", 2 / 1000),
        ("he_uniform", 2 / 300),
        ("he_normal", 2 / 300),
        ("lecun_uniform", 1 / 300),
        ("lecun_normal", 1 / 300),
    ],
)
def test_variances(name, variance):
    drawn = initializers.get(name)((300, 700), dtype="float64")
    assert drawn.var().item() == pytest.approx(variance, rel=0.02)
    assert abs(drawn.mean().item()) < 5 * math.sqrt(variance / drawn.numel())
    bound = math.sqrt(3) if "uniform" in name else 2 / 0.87962566103423978
    assert drawn.abs().max().item() == pytest.approx(bound * math.sqrt(variance), rel=1e-3)


@pytest.mark.parametrize(
    ("era", "share_outside", "deviation"),
    [
        ("1", 0.0455, 1.0),
        ("2.1.6", 0.0, 0.8796),
        ("2", 0.0, 1.0),
        ("tf2", 0.0, 1.0),
        ("3", 0.0, 1.0),
    ],
)
def test_normal_kernels_of_each_era(era, share_outside, deviation):
    with eras.using(era):
        drawn = initializers.HeNormal(seed=1)((200, 1000)) / math.sqrt(2 / 200)
    limit = 2.0 if era in ("1", "2.1.6") else 2 / 0.8796
    assert (drawn.abs() > limit + 1e-3).float().mean().item() == pytest.approx(
        share_outside, abs=0.002
    )
    assert drawn.std().item() == pytest.approx(deviation, rel=0.01)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (2, 3, 4, 5)])
def test_orthogonal(shape):
    drawn = initializers.Orthogonal(gain=2.0)(shape).reshape(-1, shape[-1])
    small = drawn.t() @ drawn if drawn.shape[0] >= drawn.shape[1] else drawn @ drawn.t()
    torch.testing.assert_close(small, 4 * torch.eye(len(small)), rtol=0, atol=1e-5)


def test_orthogonal_was_scaled_in_keras_1():
    with eras.using("1"):
        assert initializers.Orthogonal().get_config()["gain"] == 1.1
        assert initializers.Orthogonal(gain=1.0).get_config()["gain"] == 1.0


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", torch.float32])
def test_dtypes(name, dtype):
    drawn = initializers.get(name)((6, 4), dtype=dtype)
    assert drawn.dtype == (dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype))
    assert drawn.shape == (6, 4)
    assert drawn.std() > 0


def test_the_default_dtype_is_floatx():
    config.set_floatx("float64")
    for name in ("zeros", "glorot_uniform", "orthogonal", "identity", "constant"):
        assert initializers.get(name)((3, 3)).dtype == torch.float64


def test_draws_stay_on_the_cpu_and_out_of_autograd():
    config.set_device("cpu")
    drawn = initializers.GlorotUniform()((3, 3))
    assert drawn.device.type == "cpu"
    assert not drawn.requires_grad


# ------------------------------------------------------------------------------------ constants


def test_constant():
    assert initializers.Constant(0.5)((2, 2)).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    table = np.arange(6.0).reshape(2, 3)
    made = initializers.Constant(table)((2, 3))
    made += 1
    assert table[0, 0] == 0
    with pytest.raises(ValueError, match=r"shape \(2, 3\) cannot fill a weight of shape \(3, 2\)"):
        initializers.Constant(table)((3, 2))
    assert initializers.Constant(np.float32(0.5)).get_config() == {"value": 0.5}


def test_arrays_as_initializers():
    table = np.arange(6.0).reshape(2, 3)
    for array in (table, torch.from_numpy(table)):
        made = initializers.get(array)
        assert made((2, 3)).tolist() == table.tolist()
        assert made((2, 3), dtype="float16").dtype == torch.float16
        assert pickle.loads(pickle.dumps(made))((2, 3)).tolist() == table.tolist()
        with pytest.raises(ValueError, match="the shapes must be equal"):
            made((3, 2))


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"Identity makes a matrix; received the shape \(3,\)"):
        initializers.Identity()((3,))
    with pytest.raises(ValueError, match=r"two or more axes; received \(3,\)"):
        initializers.Orthogonal()((3,))


# -------------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"scale": 0}, "scale must be above 0"),
        ({"scale": float("nan")}, "scale must be above 0"),
        ({"mode": "fan"}, "mode must be 'fan_in', 'fan_out' or 'fan_avg'; received 'fan'"),
        ({"distribution": "gamma"}, "distribution must be .*received 'gamma'"),
        ({"input_axes": [0]}, "give both input_axes and output_axes"),
    ],
)
def test_bad_variance_scaling(kwargs, message):
    with pytest.raises(ValueError, match=message):
        initializers.VarianceScaling(**kwargs)


def test_unknown_arguments():
    with pytest.raises(ValueError, match="passed to GlorotUniform: 'sed'. Did you mean 'seed'"):
        initializers.GlorotUniform(sed=3)


def test_the_base_class_draws_nothing():
    with pytest.raises(NotImplementedError, match="Initializer does not define __call__"):
        initializers.Initializer()((2, 2))


# ------------------------------------------------------------------------------------- look-up


def test_look_up():
    assert initializers.get(None) is None
    assert isinstance(initializers.get(initializers.HeNormal), initializers.HeNormal)
    made = initializers.HeNormal()
    assert initializers.get(made) is made

    def mine(shape, dtype=None):
        return torch.full(shape, 3.0)

    assert initializers.get(mine)((2,)).tolist() == [3.0, 3.0]
    with pytest.raises(
        ValueError, match="Unknown initializer 'he_norml'. Did you mean 'he_normal'"
    ):
        initializers.get("he_norml")


def test_clone_and_pickle():
    made = initializers.VarianceScaling(2.0, "fan_out", "uniform", seed=4)
    for again in (made.clone(), pickle.loads(pickle.dumps(made))):
        assert again.get_config() == made.get_config()
        assert equal(again((3, 4)), made((3, 4)))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Zeros", {"dtype": "float32"}),
        ("VarianceScaling", {"scale": 1.0, "mode": "fan_avg", "seed": None, "dtype": "float32"}),
    ],
)
def test_configs_of_tf_keras_may_carry_a_dtype(name, values):
    made = initializers.deserialize({"class_name": name, "config": values})
    assert made((2, 2)).shape == (2, 2)


def test_a_subclass_without_get_config_keeps_its_arguments():
    class Ramp(initializers.Initializer):
        def __init__(self, top):
            self.half = top / 2

        def __call__(self, shape, dtype=None):
            return torch.linspace(0, 2 * self.half, math.prod(shape)).reshape(shape)

    again = initializers.deserialize(initializers.serialize(Ramp(6.0)), {"Ramp": Ramp})
    assert again((4,)).tolist() == [0.0, 2.0, 4.0, 6.0]
