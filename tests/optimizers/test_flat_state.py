"""Flat memory is invisible: the same numbers inside, the same memory outside."""

import copy
import pickle
import types

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from torchkeras import constraints, optimizers
from torchkeras.variable import TRANSPOSE, Variable, Weight

RULES = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {"weight_decay": 0.1}),
    ("Adamax", {}),
    ("Nadam", {}),
    ("Adagrad", {}),
    ("Adadelta", {}),
]
CLIPS = [
    ("Adam", {"clipnorm": 1e-3}),
    ("Adam", {"global_clipnorm": 1e-3}),
    ("Adam", {"clipvalue": 1e-3}),
    ("RMSprop", {"clipnorm": 1e-3}),
    ("Adamax", {"global_clipnorm": 1e-3}),
    ("SGD", {"clipvalue": 1e-3, "momentum": 0.9, "weight_decay": 0.1}),
    ("Adagrad", {"initial_accumulator_value": 0.5}),
]
# torch's fused Adam rounds the last few numbers of a tensor otherwise than the rest: two units in
# the last place of float32. The other rules are equal bit for bit.
ROUNDING = 2**-22
SHAPES = [(12, 8), (12,), (1, 12), (1,), (), (0, 3), (5, 3, 3, 1), (37,)]


def parameters(shapes=SHAPES, dtype=torch.float32):
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in shapes]


def build(name="Adam", options=None, built=None, **exclusion):
    built = parameters() if built is None else built
    optimizer = getattr(optimizers, name)(learning_rate=0.01, **(options or {}))
    if exclusion:
        optimizer.exclude_from_weight_decay(**exclusion)
    optimizer.build(built)
    return optimizer, built


def gradients_for(built, step, scale=None):
    torch.manual_seed(step)
    scale = 10.0 ** -(2 + 4 * step / 19) if scale is None else scale
    return [torch.randn_like(p, requires_grad=False) * scale for p in built]


def state_of(optimizer):
    return [slot for slots in optimizer.state.values() for slot in slots.values()]


def places(optimizer, built):
    tensors = [*built, *state_of(optimizer)]
    facts = [(t.untyped_storage()._cdata, t.data_ptr(), t.shape, t.stride()) for t in tensors]
    return facts, [id(tensor) for tensor in tensors]


def assert_same(left, right, rounding=ROUNDING):
    """Compare with the largest number of each tensor as the unit."""
    for one, two in zip(left, right, strict=True):
        assert one.shape == two.shape
        assert one.dtype is two.dtype
        if one.numel():
            assert (one - two).abs().max() <= rounding * one.abs().max()


def compare(name, options, edit=lambda step, gradients: gradients, steps=20, make=parameters):
    """Train with lists and flat, entering anew every seventh step."""
    rounding = ROUNDING if name.startswith("Adam") and name != "Adamax" else 0.0
    listed, listed_parameters = build(name, options, make())
    flat, flat_parameters = build(name, options, make())
    for step in range(steps):
        if step % 7 == 0:
            flat.leave_flat()
            flat.enter_flat()
            assert flat._is_flat
        if step == 10:
            listed.learning_rate = flat.learning_rate = 0.003
        listed.update(edit(step, gradients_for(listed_parameters, step)))
        flat.update(edit(step, gradients_for(flat_parameters, step)))
        assert_same(listed_parameters, flat_parameters, rounding)
    # The state is a sum over updates, of their roundings too.
    assert_same(state_of(listed), state_of(flat), 2 * rounding)
    flat.leave_flat()
    assert_same(listed_parameters, flat_parameters, rounding)
    assert_same(state_of(listed), state_of(flat), 2 * rounding)
    assert int(flat.iterations) == steps
    return flat


# ---------------------------------------------------------------------------------- same numbers


@pytest.mark.parametrize(("name", "options"), RULES + CLIPS)
def test_a_rule_gives_the_same_numbers_flat(name, options):
    compare(name, options)


@pytest.mark.parametrize(("name", "options"), RULES)
def test_a_missing_gradient_leaves_its_parameter_alone(name, options):
    def edit(step, gradients):
        if step % 3 == 1:
            gradients[0] = gradients[5] = None
        return gradients

    with pytest.warns(UserWarning, match="Gradients do not exist"):
        compare(name, options, edit)


@pytest.mark.parametrize("name", ["Adam", "Adamax", "RMSprop", "Adadelta", "Adagrad", "Nadam"])
def test_padding_that_is_no_number_reaches_nothing(name):
    # Without an epsilon the padding, whose gradient is 0, becomes 0 / 0.
    options = {"epsilon": 0.0}
    if name == "Adagrad":
        options["initial_accumulator_value"] = 0.0
    flat = compare(name, options)
    assert all(torch.isfinite(t).all() for t in (*flat.state, *state_of(flat)))
    (group,) = flat._flat._flat_groups
    assert not torch.isfinite(group.parameters[0]).all() or name == "Adadelta"


def test_gradients_in_any_layout():
    def edit(step, gradients):
        gradients[0] = gradients[0].t().contiguous().t()
        gradients[1] = gradients[1][:1].expand(12)
        return gradients

    compare("Adam", {}, edit)
    compare("Adam", {"clipnorm": 0.1}, edit)


def test_float64_beside_float32_and_half():
    def make():
        return [
            *parameters([(4, 3), (4,)]),
            *parameters([(3,), (2, 2)], torch.float64),
            *parameters([(5,), (6,)], torch.bfloat16),
        ]

    flat = compare("Adam", {}, make=make)
    assert [group.dtype for group in flat._flat._flat_groups] == [torch.float32, torch.float64]


def test_other_layouts_stay_lists():
    def make():
        built = parameters([(4, 3, 2, 2), (4,), (6, 5), (5,)])
        built[0].data = built[0].data.to(memory_format=torch.channels_last)
        built[2].data = built[2].data[:, ::2]
        return built

    flat = compare("Adam", {"weight_decay": 0.1}, make=make)
    (group,) = flat._flat._flat_groups
    assert group.indices == [1, 3]


def test_excluded_weights_do_not_decay():
    found = []
    for is_flat in (False, True):
        built = parameters()
        optimizer, _ = build("AdamW", {"weight_decay": 0.5}, built, var_list=[built[1], built[3]])
        if is_flat:
            optimizer.enter_flat()
            assert len(optimizer._working) == 2
        for step in range(5):
            optimizer.update(gradients_for(built, step))
        optimizer.leave_flat()
        found.append(built)
    assert_same(*found)
    plain = parameters()
    assert not torch.equal(found[0][0], plain[0])


def test_a_decay_set_inside_spares_the_excluded():
    built = parameters()
    optimizer, _ = build("SGD", {}, built, var_list=[built[1]])
    before = [p.detach().clone() for p in built]
    with optimizer.flat():
        optimizer.weight_decay = 0.5
        optimizer.update([torch.zeros_like(p) for p in built])
    assert torch.equal(built[1], before[1])
    torch.testing.assert_close(built[0].data, before[0] * (1 - 0.01 * 0.5))


def test_step_and_apply_inside():
    (one, left), (two, right) = build(), build()
    two.enter_flat()
    for step in range(3):
        for built, optimizer in ((left, one), (right, two)):
            for parameter, gradient in zip(built, gradients_for(built, step)):
                parameter.grad = gradient
            optimizer.step()
            optimizer.apply(gradients_for(built, step), built)
    two.leave_flat()
    assert_same(left, right)


def test_constraints_apply_inside():
    def trained(is_flat):
        weight, bias = parameters([(4, 3), (4,)])
        owner = types.SimpleNamespace(weight=weight, trainable=True, path="dense")
        row = Weight("kernel", "weight", TRANSPOSE, constraint=constraints.UnitNorm())
        optimizer, _ = build("SGD", {"momentum": 0.9}, [Variable.of(owner, row), bias])
        if is_flat:
            optimizer.enter_flat()
        for step in range(4):
            optimizer.update(gradients_for([weight, bias], step, 1.0))
            norms = weight.detach().norm(dim=1)
            torch.testing.assert_close(norms, torch.ones(4), rtol=1e-5, atol=0)
        optimizer.leave_flat()
        return weight, bias

    assert_same(trained(False), trained(True))


# ----------------------------------------------------------------------------------- same memory


@pytest.mark.parametrize(("name", "options"), RULES)
def test_outside_everything_lies_where_it_lay(name, options):
    optimizer, built = build(name, options)
    before = places(optimizer, built)
    for _ in range(3):
        with optimizer.flat():
            optimizer.update(gradients_for(built, 0))
            assert built[0].data_ptr() != before[0][0][1]
            assert places(optimizer, built)[1] == before[1]
        assert places(optimizer, built) == before


def test_aliases_are_current_afterwards():
    optimizer, built = build()
    slot = optimizer.state[built[0]]["momentum"]
    aliases = built[0].detach().numpy(), built[1].data, slot.numpy(), slot.t()
    with optimizer.flat():
        optimizer.update(gradients_for(built, 0))
    assert (aliases[0] == built[0].detach().numpy()).all()
    assert torch.equal(aliases[1], built[1])
    assert (aliases[2] == slot.numpy()).all()
    assert slot.abs().sum() > 0
    assert torch.equal(aliases[3], slot.t())


def test_saving_or_copying_one_parameter_costs_that_parameter():
    def cost(thing):
        return len(pickle.dumps(thing))

    optimizer, built = build()
    small, slot = built[3], optimizer.state[built[3]]["momentum"]
    expected = cost(small), cost(slot)
    with optimizer.flat():
        optimizer.update(gradients_for(built, 0))
    assert (cost(small), cost(slot)) == expected
    for thing in (small, slot):
        assert copy.deepcopy(thing).untyped_storage().nbytes() == 4


def test_the_buffers_stay_where_they_are():
    optimizer, built = build()
    with optimizer.flat():
        inside = places(optimizer, built)
        buffers = [tensor.data_ptr() for tensor in optimizer._flat.tensors()]
    optimizer.update(gradients_for(built, 0))
    with torch.no_grad():
        built[0].zero_()
    built[1].data = torch.ones(12)
    optimizer.build(built)
    with optimizer.flat():
        assert places(optimizer, built) == inside
        assert [tensor.data_ptr() for tensor in optimizer._flat.tensors()] == buffers
        assert torch.equal(built[0], torch.zeros(12, 8))
        assert torch.equal(built[1], torch.ones(12))


def test_every_tensor_begins_at_a_multiple_of_sixteen_numbers():
    optimizer, built = build()
    with optimizer.flat():
        for tensor in (*built, *state_of(optimizer)):
            assert tensor.storage_offset() % 16 == 0
        assert built[0].untyped_storage().data_ptr() == built[1].untyped_storage().data_ptr()


def test_an_exception_restores():
    optimizer, built = build()
    before = places(optimizer, built)
    with pytest.raises(RuntimeError, match="stop"), optimizer.flat():
        optimizer.update(gradients_for(built, 0))
        held = [p.detach().clone() for p in built]
        raise RuntimeError("stop")
    assert places(optimizer, built) == before
    assert_same(held, [p.data for p in built])


def test_entering_and_leaving_twice_and_nesting():
    optimizer, built = build()
    before = places(optimizer, built)
    optimizer.leave_flat()
    with optimizer.flat():
        inside = places(optimizer, built)
        with optimizer.flat():
            optimizer.enter_flat()
            assert places(optimizer, built) == inside
        assert places(optimizer, built) == inside
    optimizer.leave_flat()
    assert places(optimizer, built) == before


def test_autograd_notices_the_change():
    optimizer, built = build()
    for is_flat in (True, False):
        loss = (built[0] ** 2).sum()
        with optimizer.flat():
            if is_flat:
                optimizer.update(gradients_for(built, 0))
                with pytest.raises(RuntimeError, match="inplace operation"):
                    loss.backward()
        with pytest.raises(RuntimeError, match="inplace operation"):
            loss.backward()


# --------------------------------------------------------------------------------- what changes


def test_values_set_inside_are_taken():
    found = []
    for is_flat in (False, True):
        module = nn.Linear(3, 2)
        other = nn.Linear(3, 2)
        for value, tensor in enumerate((*module.parameters(), *other.parameters())):
            nn.init.constant_(tensor, value)
        optimizer, built = build("Adam", {}, list(module.parameters()))
        if is_flat:
            optimizer.enter_flat()
        optimizer.update(gradients_for(built, 0))
        module.load_state_dict(other.state_dict())
        optimizer.variables[2].assign(torch.full((2, 3), 0.25))
        optimizer.update(gradients_for(built, 1))
        optimizer.leave_flat()
        found.append([*built, *state_of(optimizer)])
    assert_same(*found)


def test_the_state_is_true_inside_and_outside():
    (one, left), (two, right) = build("Adam"), build("Adam")
    two.enter_flat()
    for optimizer, built in ((one, left), (two, right)):
        optimizer.update(gradients_for(built, 0))
    assert_same([v.value for v in one.variables], [v.value for v in two.variables])
    inside = copy.deepcopy(two.state_dict())
    two.leave_flat()
    for other in (one, two):
        found = other.state_dict()
        for place, slots in inside["state"].items():
            assert_same(slots.values(), found["state"][place].values())
    # And loaded inside, where it is more than was there.
    three, last = build("Adam")
    with three.flat():
        three.load_state_dict(inside)
        three.update(gradients_for(last, 1))
    four, expected = build("Adam")
    four.load_state_dict(inside)
    four.update(gradients_for(expected, 1))
    assert_same(expected, last)


def test_a_parameter_rebound_between_entries():
    optimizer, built = build()
    for new in (torch.full((12, 8), 2.0), torch.full((12, 12), 3.0)[:, 2:10].contiguous()):
        with optimizer.flat():
            optimizer.update(gradients_for(built, 0))
        built[0].data = new
        value = new.clone()
        with optimizer.flat():
            assert torch.equal(built[0], value)
            optimizer.update(gradients_for(built, 1))
            moved = built[0].detach().clone()
        assert built[0].data_ptr() == new.data_ptr()
        assert torch.equal(new, moved)
        assert (new != value).all()


def test_state_rebound_between_entries():
    optimizer, built = build("SGD", {"momentum": 0.5})
    with optimizer.flat():
        optimizer.update(gradients_for(built, 0))
    slot, new = optimizer.state[built[1]]["momentum"], torch.ones(12)
    slot.data = new
    with optimizer.flat():
        optimizer.update([torch.zeros_like(p) for p in built])
    assert slot.data_ptr() == new.data_ptr()
    assert torch.equal(new, torch.full((12,), 0.5))


@pytest.mark.parametrize("inside", [False, True])
def test_a_model_in_another_dtype(inside):
    def trained(is_flat):
        torch.manual_seed(0)
        module = nn.Linear(5, 3)
        optimizer, built = build("Adam", {}, list(module.parameters()))
        if is_flat:
            optimizer.enter_flat()
        optimizer.update(gradients_for(built, 0))
        if is_flat and not inside:
            optimizer.leave_flat()
        module.double()
        if is_flat and not inside:
            optimizer.enter_flat()
            assert optimizer._is_flat
            assert built[0].dtype == torch.float64
        optimizer.update(gradients_for(built, 1))
        optimizer.leave_flat()
        return [*built, *state_of(optimizer)]

    expected, found = trained(False), trained(True)
    assert found[0].dtype == found[2].dtype == torch.float64
    assert_same(expected, found)


def test_another_shape_makes_other_state():
    optimizer, built = build("Adam", {}, parameters([(4, 3), (4,)]))
    with optimizer.flat():
        optimizer.update(gradients_for(built, 0))
    kept = optimizer.state[built[1]]["momentum"].clone()
    built[0].data = torch.ones(6, 3)
    with optimizer.flat():
        assert optimizer._is_flat
        assert optimizer.state[built[0]]["momentum"].shape == (6, 3)
        assert torch.equal(optimizer.state[built[1]]["momentum"], kept)
        optimizer.update(gradients_for(built, 1))
    assert built[0].shape == (6, 3)
    assert (built[0] != 1).all()


@pytest.mark.parametrize(
    "change", [lambda w: w.view(2, 8), lambda w: w.t(), lambda w: torch.ones(6, 3), lambda w: w[:2]]
)
def test_a_parameter_laid_out_otherwise_between_entries(change):
    optimizer, built = build("SGD", {}, parameters([(4, 4), (4,)]))
    with optimizer.flat():
        optimizer.update(gradients_for(built, 0))
    built[0].data = change(built[0].data)
    expected = [p.detach() - 0.01 * g for p, g in zip(built, gradients_for(built, 1))]
    stride = built[0].stride()
    with optimizer.flat():
        optimizer.update(gradients_for(built, 1))
        assert_same(expected, built)
    assert_same(expected, built)
    assert built[0].stride() == stride


def test_a_parameter_rebound_inside_keeps_what_it_was_given():
    optimizer, built = build()
    before = places(optimizer, built)
    new = torch.ones(12)
    with optimizer.flat():
        optimizer.update(gradients_for(built, 0))
        built[1].data = new
        optimizer.update(gradients_for(built, 1))
        assert built[1].data_ptr() == new.data_ptr()
        assert (new != 1).all()
        optimizer.enter_flat()
        assert optimizer._is_flat
    assert built[1].data_ptr() == new.data_ptr()
    after = places(optimizer, built)
    assert [x for k, x in enumerate(after[0]) if k != 1] == [
        x for k, x in enumerate(before[0]) if k != 1
    ]


def test_rebound_at_the_end_of_a_context():
    optimizer, built = build()
    new = torch.ones(12)
    with optimizer.flat():
        built[1].data = new
    assert built[1].data_ptr() == new.data_ptr()
    assert torch.equal(new, torch.ones(12))


def test_other_parameters_get_other_buffers():
    optimizer, built = build()
    with optimizer.flat():
        optimizer.update(gradients_for(built, 0))
    (first,) = optimizer._flat._flat_groups
    optimizer.build(built[:2])
    assert optimizer._flat is None
    with optimizer.flat():
        (second,) = optimizer._flat._flat_groups
        assert second.parameters[0].numel() == 96 + 16
        optimizer.update(gradients_for(built[:2], 1))
    assert first is not second


def test_built_anew_inside():
    optimizer, built = build()
    before = places(optimizer, built)
    with optimizer.flat():
        optimizer.update(gradients_for(built, 0))
        optimizer.build(built)
        assert places(optimizer, built) == before
        optimizer.update(gradients_for(built, 1))
    other, expected = build()
    for step in range(2):
        other.update(gradients_for(expected, step))
    assert_same(expected, built)


# ---------------------------------------------------------------------------- what stays a list


def stays(optimizer, built):
    before = places(optimizer, built)
    with optimizer.flat():
        optimizer.update(gradients_for(built, 0))
        return places(optimizer, built) == before


def test_large_models_stay():
    assert stays(*build("SGD", {}, parameters([(2**20,), (1,)])))
    assert not stays(*build("SGD", {}, parameters([(2**20 - 1,), (1,)])))


def test_one_parameter_stays():
    assert stays(*build("SGD", {}, parameters([(3,)])))


def test_half_precision_stays():
    assert stays(*build("SGD", {}, parameters(dtype=torch.bfloat16)))


def test_before_build_nothing_happens():
    optimizer = optimizers.Adam()
    with optimizer.flat():
        optimizer.build(built := parameters())
        optimizer.update(gradients_for(built, 0))
    other, expected = build("Adam", {})
    other.learning_rate = 0.001
    other.update(gradients_for(expected, 0))
    assert_same(expected, built)


def test_an_optimizer_of_pytorch_stays():
    built = parameters()
    optimizer = optimizers.get(torch.optim.SGD)
    optimizer.build(built)
    before = [p.data_ptr() for p in built]
    with optimizer.flat():
        optimizer.update(gradients_for(built, 0))
        assert [p.data_ptr() for p in built] == before


def test_a_rule_of_the_users_stays():
    class Normalized(optimizers.SGD):
        def _rule(self, parameters, gradients, slots, scalars):
            super()._rule(parameters, [g / g.norm() for g in gradients], slots, scalars)

    optimizer = Normalized()
    optimizer.build(built := parameters([(3,), (4,)]))
    assert stays(optimizer, built)


def test_shared_memory_stays():
    def make():
        built = parameters([(4, 3), (4, 3), (4,), (5,)])
        built[1].data = built[0].data
        return built

    flat = compare("SGD", {"momentum": 0.9}, make=make)
    assert flat._flat._flat_groups[0].indices == [2, 3]
    # And when that becomes so later.
    optimizer, built = build("SGD", {}, parameters([(4, 3), (4, 3), (4,), (5,)]))
    for start in (torch.ones(4, 3), torch.ones(5, 3)[:4]):
        built[1].data = start
        with optimizer.flat():
            optimizer.update(gradients_for(built, 0))
    built[1].data = built[0].data
    with optimizer.flat():
        optimizer.update([torch.ones_like(p) for p in built])
        assert built[1].data_ptr() == built[0].data_ptr()


def test_a_piece_of_something_larger_stays():
    whole = torch.ones(8)
    built = parameters([(4,), (3,), (2,)])
    built[0].data = whole[4:]
    optimizer, _ = build("SGD", {}, built)
    with optimizer.flat():
        optimizer.update([torch.ones_like(p) for p in built])
        assert torch.equal(whole[4:], built[0])
        assert whole[4] != 1
        assert built[1].untyped_storage().nbytes() > 12


# --------------------------------------------------------------------- copies of the optimizer


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("how", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_goes_on_by_itself(how, inside):
    optimizer, built = build("Adam", {"amsgrad": True})
    with optimizer.flat():
        optimizer.update(gradients_for(built, 0))
        pair = how((optimizer, built)) if inside else None
    pair = pair or how((optimizer, built))
    other, copied = pair
    assert not other._is_flat
    with other.flat():
        other.update(gradients_for(copied, 1))
    with optimizer.flat():
        optimizer.update(gradients_for(built, 1))
    assert_same(built, copied)
    if not inside:
        assert copied[0].untyped_storage().nbytes() == 96 * 4


# ------------------------------------------------------------------------------------- recording


class Below(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, out))
        return out


class Above(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.names.append(getattr(function, "__name__", ""))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("name", "options"), RULES + CLIPS)
def test_an_update_inside_can_be_recorded(name, options):
    optimizer, built = build(name, options)
    gradients = gradients_for(built, 0)
    with optimizer.flat():
        optimizer.update(gradients)
        above, below = Above(), Below()
        with above, below:
            optimizer.update(gradients)
        known = {id(t) for t in (*optimizer.tensors(), *gradients)}
    assert not {"data_ptr", "numpy", "item", "tolist", "untyped_storage"} & set(above.names)
    called = [function.name() for function, *_ in below.calls]
    assert "aten::_local_scalar_dense" not in called
    assert called.count("aten::_foreach_copy_") == 1
    for _, args, kwargs, out in below.calls:
        used = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
        assert all(id(tensor) in known for tensor in used)
        known |= {id(t) for t in tree_flatten(out)[0] if isinstance(t, torch.Tensor)}


@pytest.mark.parametrize(("name", "options"), RULES)
def test_the_rule_sees_one_tensor(name, options, monkeypatch):
    optimizer, built = build(name, options)
    seen = []
    rule = type(optimizer)._rule

    def spy(parameters, gradients, slots, scalars):
        seen.append([len(x) for x in (parameters, gradients, *slots.values())])
        rule(optimizer, parameters, gradients, slots, scalars)

    monkeypatch.setattr(optimizer, "_rule", spy)
    with optimizer.flat():
        optimizer.update(gradients_for(built, 0))
    optimizer.update(gradients_for(built, 0))
    assert set(seen[0]) == {1}
    assert set(seen[1]) == {len(SHAPES)}


def test_the_buffers_are_known_only_while_they_are_used():
    optimizer, built = build()
    before = len(optimizer.tensors())
    with optimizer.flat():
        # Flat parameter, gradient and two slots, and a view of the gradient for each parameter.
        assert len(optimizer.tensors()) == before + 4 + len(SHAPES)
    assert len(optimizer.tensors()) == before
