"""The contract of every optimizer: torch's interface, Keras' life-cycle, state, errors."""

import copy
import inspect
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import optimizers
from torchkeras.variable import TRANSPOSE, Variable, Weight

NAMES = ["SGD", "RMSprop", "Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "Nadam"]
OPTIONS = [(name, {}) for name in NAMES] + [
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adam", {"amsgrad": True, "clipnorm": 0.1}),
]


def make(name, options=None, learning_rate=0.1):
    return getattr(optimizers, name)(learning_rate=learning_rate, **(options or {}))


def parameters():
    torch.manual_seed(3)
    return [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(4))]


def gradients(seed=0):
    torch.manual_seed(seed)
    return [torch.randn(4, 3), torch.randn(4)]


def variable(weight, **row):
    owner = types.SimpleNamespace(weight=weight, trainable=True, path="dense")
    return Variable.of(owner, Weight("kernel", "weight", TRANSPOSE, **row))


def values(items):
    return [item.detach().clone() for item in items]


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for left, right in zip(found, expected):
        assert torch.equal(left, right)


# ------------------------------------------------------------------------------ torch's interface


@pytest.mark.parametrize("name", NAMES)
def test_is_a_torch_optimizer(name):
    optimizer = make(name)
    assert isinstance(optimizer, torch.optim.Optimizer)
    built = parameters()
    optimizer.build(built)
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(p) for p in built]
    assert optimizer.param_groups[0]["lr"].dtype == torch.float32
    assert optimizer.param_groups[0]["lr"].shape == ()
    assert f"{name} (" in repr(optimizer)


@pytest.mark.parametrize("name", NAMES)
def test_a_hand_written_loop_lowers_the_loss(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.randn(64, 3)
    y = x.sum(1, keepdim=True)
    optimizer = make(name, learning_rate=1.0 if name == "Adadelta" else 0.02)
    optimizer.build(list(model.parameters()))
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_step_takes_a_closure_and_returns_its_loss():
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = make("SGD")
    optimizer.build([weight])

    def closure():
        optimizer.zero_grad()
        loss = (weight * 3).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 6.0
    assert weight.item() == pytest.approx(2.0 - 0.1 * 3)


def test_zero_grad():
    weight = nn.Parameter(torch.ones(2))
    optimizer = make("SGD")
    optimizer.build([weight])
    weight.grad = held = torch.ones(2)
    optimizer.zero_grad(set_to_none=False)
    assert torch.equal(held, torch.zeros(2))
    assert weight.grad is not None
    optimizer.zero_grad()
    assert weight.grad is None


def test_lambda_scheduler_writes_the_rate_in_place():
    optimizer = make("Adam")
    optimizer.build(parameters())
    rate = optimizer.param_groups[0]["lr"]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    for _ in range(2):
        for weight, gradient in zip(optimizer.param_groups[0]["params"], gradients()):
            weight.grad = gradient
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] is rate
    assert float(optimizer.learning_rate) == pytest.approx(0.025)
    assert not torch.equal(optimizer.param_groups[0]["initial_lr"], rate)


def test_plateau_and_one_cycle_schedulers():
    optimizer = make("SGD")
    optimizer.build(parameters())
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=0)
    for _ in range(2):
        plateau.step(1.0)
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=10, cycle_momentum=False
    )
    assert float(optimizer.learning_rate) == pytest.approx(cycle.get_last_lr()[0])


def test_hooks_run_around_step_and_update():
    optimizer = make("SGD")
    optimizer.build(parameters())
    calls = []
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append("before"))
    after = optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append("after"))
    optimizer.update(gradients())
    for weight, gradient in zip(optimizer.param_groups[0]["params"], gradients()):
        weight.grad = gradient
    optimizer.step()
    assert calls == ["before", "after"] * 2
    before.remove()
    after.remove()
    optimizer.update(gradients())
    assert len(calls) == 4


def test_a_pre_hook_may_replace_the_gradients():
    optimizer = make("SGD")
    weight = nn.Parameter(torch.zeros(2))
    optimizer.build([weight])
    optimizer.register_step_pre_hook(lambda o, args, kwargs: (([args[0][0] * 2],), kwargs))
    optimizer.update([torch.ones(2)])
    assert torch.allclose(weight.detach(), torch.full((2,), -0.2))


def test_a_second_group_is_refused():
    optimizer = make("SGD")
    with pytest.raises(ValueError, match="one group of parameters"):
        optimizer.add_param_group({"params": parameters()})


def test_grad_scaler_steps_it():
    optimizer = make("SGD")
    weight = nn.Parameter(torch.zeros(2))
    optimizer.build([weight])
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale((weight * 2).sum()).backward()
    scaler.step(optimizer)
    assert torch.allclose(weight.detach(), torch.full((2,), -0.2))


# -------------------------------------------------------------------------------- learning rate


@pytest.mark.parametrize("name", NAMES)
def test_learning_rate_is_read_and_set_in_many_ways(name):
    optimizer = make(name)
    optimizer.build(parameters())
    rate = optimizer.param_groups[0]["lr"]
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    assert optimizer.learning_rate.numpy() == np.float32(0.1)
    optimizer.learning_rate = 0.01
    assert rate.item() == pytest.approx(0.01)
    optimizer.learning_rate.assign(0.02)
    assert rate.item() == pytest.approx(0.02)
    optimizer.lr = 0.03
    assert float(optimizer.lr) == pytest.approx(0.03)
    optimizer.param_groups[0]["lr"] = 0.04
    assert rate.item() == pytest.approx(0.04)
    optimizer.learning_rate = torch.tensor(0.05)
    optimizer.param_groups[0]["lr"] *= 0.5
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(0.025)
    assert optimizer.get_config()["learning_rate"] == float(np.float32(0.05)) / 2


def test_a_changed_rate_counts_at_once():
    weight = nn.Parameter(torch.zeros(1))
    optimizer = make("SGD")
    optimizer.build([weight])
    optimizer.update([torch.ones(1)])
    optimizer.learning_rate = 1.0
    optimizer.update([torch.ones(1)])
    assert weight.item() == pytest.approx(-1.1)


@pytest.mark.parametrize("rate", [1, np.float32(1), np.float64(1), np.int64(1)])
def test_any_number_is_a_rate(rate):
    assert float(optimizers.SGD(rate).learning_rate) == 1.0


@pytest.mark.parametrize("rate", ["0.1", None, True, (0.1,), 1j])
def test_what_is_no_number_is_no_rate(rate):
    with pytest.raises(ValueError, match="learning_rate must be a number"):
        optimizers.Adam(learning_rate=rate)


# ------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_ema": True, "ema_momentum": 1.5}, "`ema_momentum` must be in the range"),
        ({"use_ema": True, "ema_overwrite_frequency": 0.5}, "`ema_overwrite_frequency` must be"),
        ({"gradient_accumulation_steps": 1}, "`gradient_accumulation_steps` must be an integer >="),
        ({"gradient_accumulation_steps": 2.0}, "`gradient_accumulation_steps` must be an integer"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        optimizers.Adam(**options)


@pytest.mark.parametrize("name", [*NAMES, "Ftrl", "Lion", "Lamb", "Adafactor", "Muon"])
def test_the_signature_shows_what_all_take(name):
    signature = list(inspect.signature(getattr(optimizers, name)).parameters)
    common = list(inspect.signature(optimizers.Optimizer.__init__).parameters)[2:-1]
    first = signature.index("clipnorm")
    place = common.index("clipnorm")
    assert signature[first : first + len(common) - place] == common[place:]
    assert signature[0] == "learning_rate" and signature[-1] == "kwargs"
    assert "weight_decay" in signature[1 : first + 1]


def test_common_arguments_by_place():
    assert optimizers.SGD(0.1, 0.0, False, 0.02, 0.5).clipnorm == 0.5
    muon = optimizers.Muon(0.1, 0.9, 0.99, None, 1e-6, 0.2, 0.7)
    assert muon.weight_decay == 0.2 and muon.clipnorm == 0.7
    with pytest.raises(TypeError, match="multiple values for argument 'clipnorm'"):
        optimizers.SGD(0.1, 0.0, False, 0.02, 0.5, clipnorm=1.0)
    with pytest.raises(TypeError, match="at most 13 positional arguments"):
        optimizers.SGD(*[None] * 20)


def test_only_one_way_of_clipping():
    with pytest.raises(ValueError, match="Only one of `clipnorm`"):
        optimizers.SGD(clipnorm=1.0, clipvalue=0.5)


@pytest.mark.parametrize("option", ["clipnorm", "clipvalue", "global_clipnorm"])
@pytest.mark.parametrize("limit", [-1.0, "1", True])
def test_clipping_limits_are_numbers_from_zero(option, limit):
    with pytest.raises(ValueError, match=f"{option} must be a number of at least 0"):
        optimizers.SGD(**{option: limit})


@pytest.mark.parametrize("momentum", [-0.1, 1.5, "0.9"])
def test_momentum_is_from_zero_to_one(momentum):
    with pytest.raises(ValueError, match="momentum must be a number from 0 to 1"):
        optimizers.SGD(momentum=momentum)


def test_adamw_needs_a_decay():
    with pytest.raises(ValueError, match="AdamW: weight_decay must be a number"):
        optimizers.AdamW(weight_decay=None)


def test_unknown_argument():
    with pytest.raises(ValueError, match="not recognized by Adam: beta1.*beta_1"):
        optimizers.Adam(beta1=0.9)


@pytest.mark.parametrize("first", [lambda: nn.Linear(2, 2).parameters(), parameters])
def test_parameters_in_the_place_of_the_rate(first):
    with pytest.raises(TypeError, match="first argument of Adam is the learning rate"):
        optimizers.Adam(first())


# --------------------------------------------------------------------------- building, updating


def test_update_before_build():
    with pytest.raises(ValueError, match="has no parameters yet"):
        make("Adam").update(gradients())
    with pytest.raises(ValueError, match="not built"):
        make("Adam").apply(gradients())


def test_wrong_number_of_gradients():
    optimizer = make("Adam")
    optimizer.build(parameters())
    with pytest.raises(ValueError, match="received 1 gradients, but it was built with 2"):
        optimizer.update(gradients()[:1])


def test_all_gradients_missing():
    optimizer = make("Adam")
    optimizer.build(parameters())
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer.update([None, None])
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer.step()
    assert int(optimizer.iterations) == 0


def test_no_parameters_no_update():
    optimizer = make("Adam")
    optimizer.build([])
    optimizer.update([])
    assert int(optimizer.iterations) == 0


@pytest.mark.parametrize("wrong", ["weight", torch.ones(2, dtype=torch.int64)])
def test_only_floating_tensors_are_parameters(wrong):
    with pytest.raises(ValueError, match="built with floating-point parameters"):
        make("Adam").build([wrong])


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_building_again_keeps_the_state_of_known_parameters(name, options):
    first, second = parameters()
    optimizer = make(name, options)
    optimizer.build([first, second])
    optimizer.update(gradients())
    before = {key: slot.clone() for key, slot in optimizer.state[first].items()}
    third = nn.Parameter(torch.randn(2))
    optimizer.build([third, first])
    assert set(optimizer.state) == {third, first}
    assert int(optimizer.iterations) == 1
    for key, slot in optimizer.state[first].items():
        assert torch.equal(slot, before[key])
    unchanged = second.detach().clone()
    optimizer.update([torch.ones(2), gradients(1)[0]])
    assert torch.equal(second.detach(), unchanged)


def test_building_again_keeps_the_tensors_themselves():
    optimizer = make("Adam")
    built = parameters()
    optimizer.build(built)
    before = [tensor.data_ptr() for tensor in optimizer.tensors()[:6]]
    optimizer.build(built)
    assert [tensor.data_ptr() for tensor in optimizer.tensors()[:6]] == before


def test_a_tied_parameter_moves_once():
    weight = nn.Parameter(torch.zeros(2))
    optimizer = make("SGD")
    optimizer.build([weight, weight])
    gradient = torch.ones(2)
    optimizer.update([gradient, gradient])
    assert torch.allclose(weight.detach(), torch.full((2,), -0.1))


def test_update_changes_neither_gradients_nor_grad_mode():
    optimizer = make("Adam", {"clipnorm": 0.01, "weight_decay": 0.1})
    optimizer.build(parameters())
    given = gradients()
    kept = values(given)
    optimizer.update(given)
    assert_equal(given, kept)
    assert torch.is_grad_enabled()
    assert all(p.requires_grad and p.grad_fn is None for p in optimizer.param_groups[0]["params"])


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_another_memory_layout(name):
    """torch's fused kernels ignore strides, so a transposed gradient would be applied scrambled."""
    results = []
    for transposed in (False, True):
        built = parameters()
        optimizer = make(name)
        optimizer.build(built)
        weight, bias = gradients()
        if transposed:
            weight = weight.t().contiguous().t()
            bias = torch.stack([bias, bias], dim=1)[:, 0]
        optimizer.update([weight, bias])
        results.append(values(built))
    assert_equal(*results)


def test_an_expanded_gradient():
    weight = nn.Parameter(torch.zeros(3, 2))
    optimizer = make("SGD")
    optimizer.build([weight])
    optimizer.update(torch.autograd.grad(weight.sum(), [weight]))
    assert torch.allclose(weight.detach(), torch.full((3, 2), -0.1))


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_parameters_of_any_layout_and_dtype_in_one_list(name, options):
    torch.manual_seed(0)
    base = torch.randn(4, 4, 2, 2, dtype=torch.float64)
    kinds = {
        "plain": lambda t: t.float(),
        "double": lambda t: t.clone(),
        "channels_last": lambda t: t.float().contiguous(memory_format=torch.channels_last),
        "transposed": lambda t: t.float().transpose(0, 1).contiguous().transpose(0, 1),
        "with_gaps": lambda t: torch.cat([t, t], dim=3).float()[..., ::2].copy_(t.float()),
        "half": lambda t: t.bfloat16(),
    }
    built = {kind: nn.Parameter(convert(base)) for kind, convert in kinds.items()}
    assert not built["with_gaps"].is_contiguous()
    optimizer = make(name, {**options, "weight_decay": 0.01})
    optimizer.build(list(built.values()))
    for _ in range(3):
        gradient = torch.randn(base.shape, dtype=torch.float64)
        optimizer.update([gradient.to(p.dtype) for p in built.values()])
    plain = built["plain"].detach()
    assert not torch.equal(plain, base.float())
    for kind in ("channels_last", "transposed", "with_gaps"):
        assert torch.allclose(built[kind].detach(), plain, rtol=1e-6, atol=1e-6), kind
    assert torch.allclose(built["double"].detach().float(), plain, rtol=1e-5, atol=1e-5)
    assert torch.allclose(built["half"].detach().float(), plain, rtol=0.05, atol=0.05)


def test_parameters_that_went_to_another_dtype():
    model = nn.Linear(3, 4)
    optimizer = make("Adam")
    optimizer.build(list(model.parameters()))
    optimizer.update(gradients())
    velocity = optimizer.state[model.weight]["velocity"].clone()
    model.double()
    optimizer.update([gradient.double() for gradient in gradients()])
    state = optimizer.state[model.weight]["velocity"]
    assert state.dtype == torch.float64
    assert torch.allclose(state, velocity * 0.999 + 0.001 * gradients()[0].double() ** 2)
    assert int(optimizer.iterations) == 2


def test_a_changed_beta_counts_in_the_bias_correction_too():
    results = []
    for late in (False, True):
        weight = nn.Parameter(torch.zeros(2))
        optimizer = optimizers.Adam(beta_2=0.999 if late else 0.9)
        optimizer.build([weight])
        optimizer.beta_2 = 0.9
        optimizer.update([torch.ones(2)])
        results.append(weight.detach().clone())
    assert torch.equal(*results)


# ------------------------------------------------------------------------- variables, constraints


def test_apply_takes_gradients_in_keras_layout():
    weight = nn.Parameter(torch.zeros(4, 3))
    kernel = variable(weight)
    gradient = torch.arange(12.0).reshape(3, 4)
    make("SGD").apply([gradient], [kernel])
    assert torch.allclose(weight.detach(), -0.1 * gradient.t())


def test_update_takes_gradients_in_torch_s_layout():
    weight = nn.Parameter(torch.zeros(4, 3))
    optimizer = make("SGD")
    optimizer.build([variable(weight)])
    gradient = torch.arange(12.0).reshape(4, 3)
    optimizer.update([gradient])
    assert torch.allclose(weight.detach(), -0.1 * gradient)


def test_apply_gradients_takes_pairs_in_any_order_and_arrays():
    first, second = parameters()
    start = values([first, second])
    optimizer = make("SGD")
    optimizer.build([first, second])
    count = optimizer.apply_gradients([(np.ones(4), second)])
    assert int(count) == 1
    assert torch.equal(first.detach(), start[0])
    assert torch.allclose(second.detach(), start[1] - 0.1)


def test_apply_refuses_unknown_variables_and_wrong_shapes():
    first, second = parameters()
    optimizer = make("SGD")
    optimizer.build([first])
    with pytest.raises(ValueError, match="Unknown variable: parameter"):
        optimizer.apply([torch.ones(4)], [second])
    with pytest.raises(ValueError, match="gradient of parameter.4, 3. has shape .3,"):
        optimizer.apply([torch.ones(3)])
    with pytest.raises(ValueError, match="received 2 gradients for 1 variables"):
        optimizer.apply([torch.ones(3)] * 2)


@pytest.mark.parametrize("name", NAMES)
def test_constraints_see_keras_layout_after_the_rule(name):
    weight = nn.Parameter(torch.ones(4, 3))
    seen = []

    def constraint(value):
        seen.append(tuple(value.shape))
        return value.clamp(min=0.999)

    optimizer = make(name, learning_rate=10.0)
    optimizer.build([variable(weight, constraint=constraint)])
    optimizer.update([torch.ones(4, 3)])
    assert seen == [(3, 4)]
    assert torch.equal(weight.detach(), torch.full((4, 3), 0.999))
    assert weight.requires_grad


def test_no_gradient_no_constraint():
    weight, bias = parameters()
    optimizer = make("SGD")
    optimizer.build([variable(weight, constraint=torch.zeros_like), bias])
    before = weight.detach().clone()
    with pytest.warns(UserWarning, match="dense/kernel"):
        optimizer.update([None, torch.ones(4)])
    assert torch.equal(weight.detach(), before)


def test_exclude_from_weight_decay_by_name():
    weight = nn.Parameter(torch.ones(4, 3))
    bias = nn.Parameter(torch.ones(4))
    owner = types.SimpleNamespace(weight=weight, bias=bias, trainable=True)
    optimizer = make("SGD", {"weight_decay": 0.5})
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(
        [Variable.of(owner, Weight("kernel", "weight", TRANSPOSE)), Variable.of(owner, "bias")]
    )
    optimizer.update([torch.zeros(4, 3), torch.zeros(4)])
    assert torch.allclose(weight.detach(), torch.full((4, 3), 0.95))
    assert torch.equal(bias.detach(), torch.ones(4))
    with pytest.raises(ValueError, match="before the optimizer is built"):
        optimizer.exclude_from_weight_decay(var_names=["kernel"])


# ------------------------------------------------------------------------------ copying, loading


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_a_copy_keeps_parameters_shared_and_goes_on_the_same(name, options, copier):
    built = parameters()
    optimizer = make(name, options)
    optimizer.build(built)
    optimizer.update(gradients())
    built_2, optimizer_2 = copier((built, optimizer))
    assert [id(p) for p in optimizer_2.param_groups[0]["params"]] == [id(p) for p in built_2]
    optimizer.learning_rate = optimizer_2.learning_rate = 0.05
    for seed in range(1, 4):
        optimizer.update(gradients(seed))
        optimizer_2.update(gradients(seed))
    assert_equal(values(built_2), values(built))
    assert built_2[0] is not built[0]
    optimizer_2.learning_rate = 1.0
    assert float(optimizer.learning_rate) == pytest.approx(0.05)
    assert int(optimizer_2.iterations) == 4


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
@pytest.mark.parametrize("name", NAMES)
def test_an_unbuilt_optimizer_copies(name, copier):
    optimizer = copier(make(name))
    optimizer.build(parameters())
    optimizer.update(gradients())
    assert optimizer.get_config() == {**make(name).get_config(), "name": optimizer.name}


def test_a_copy_forgets_the_scheduler_s_step():
    optimizer = make("SGD")
    built = parameters()
    optimizer.build(built)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    built_2, optimizer_2 = copy.deepcopy((built, optimizer))
    before = values(built)
    for weight in built_2:
        weight.grad = torch.ones_like(weight)
    optimizer_2.step()
    assert_equal(values(built), before)
    assert not torch.equal(built_2[0].detach(), before[0])


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_state_dict_restores_in_place(name, options, tmp_path):
    built = parameters()
    optimizer = make(name, options)
    optimizer.build(built)
    optimizer.update(gradients())
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    kept = values(built)
    others = [nn.Parameter(weight) for weight in kept]
    other = make(name, options, learning_rate=0.7)
    other.build(others)
    pointers = [tensor.data_ptr() for tensor in other.tensors()]
    other.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert [tensor.data_ptr() for tensor in other.tensors()] == pointers
    assert float(other.learning_rate) == pytest.approx(0.1)
    assert int(other.iterations) == 1
    optimizer.update(gradients(1))
    other.update(gradients(1))
    assert_equal(values(others), values(built))


def test_state_of_another_optimizer_is_refused():
    optimizer = make("Adagrad")
    optimizer.build(parameters())
    other = make("Adam")
    with pytest.raises(ValueError, match="has no parameters yet"):
        other.load_state_dict(optimizer.state_dict())
    other.build(parameters())
    with pytest.raises(ValueError, match="it is another optimizer's"):
        other.load_state_dict(optimizer.state_dict())


def test_set_weights_writes_what_get_weights_gave():
    optimizer, other = make("Nadam"), make("Nadam")
    for one in (optimizer, other):
        one.build(parameters())
    optimizer.update(gradients())
    other.set_weights(optimizer.get_weights())
    for left, right in zip(other.get_weights(), optimizer.get_weights()):
        np.testing.assert_array_equal(left, right)
    with pytest.raises(ValueError, match="has 7 variables; received 1"):
        other.set_weights([1.0])


# ------------------------------------------------------------------------------------- first use


def test_nothing_imports_dynamo():
    program = """
import sys, copy, torch
from torchkeras import optimizers
for name in "sgd rmsprop adam adamw adagrad adadelta adamax nadam".split():
    weight = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = optimizers.get(name)
    optimizer.build([weight])
    for _ in range(2):
        optimizer.zero_grad()
        (weight ** 2).sum().backward()
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    copy.deepcopy(optimizer).update([torch.ones(3, 2)])
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
assert "torch._dynamo" not in sys.modules
print("clean")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "clean", done.stderr
