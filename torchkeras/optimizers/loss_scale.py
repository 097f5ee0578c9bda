"""LossScaleOptimizer: keeps the small gradients of half precision from vanishing."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from torchkeras import registry
from torchkeras.optimizers.kernels import only_where
from torchkeras.optimizers.optimizer import Optimizer
from torchkeras.optimizers.parameters import parameter_of
from torchkeras.optimizers.torch_optimizer import TorchOptimizer, is_torch_optimizer
from torchkeras.registry import register
from torchkeras.variable import Variable, Weight

# What the base class takes and this one leaves to the optimizer inside: old configs have these.
_LEFT_TO_INNER = {
    "weight_decay": None,
    "clipnorm": None,
    "global_clipnorm": None,
    "clipvalue": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


@register("optimizer", "lossscaleoptimizer")
class LossScaleOptimizer(Optimizer):
    """Wraps an optimizer: gradients are taken of a multiple of the loss and divided again.

    The factor moves: a step with a gradient that is infinite or NaN changes no weight and halves
    it; after ``dynamic_growth_steps`` steps without such a one it is doubled.

    Args:
        inner_optimizer: the optimizer that moves the weights, or one of PyTorch's own.
        initial_scale: the factor to begin with.
        dynamic_growth_steps: how many steps with finite gradients double the factor.
        name: numbered by class unless given.
        dynamic: of tf.keras 2; must be true.

    Raises:
        TypeError: when ``inner_optimizer`` is no optimizer.
        ValueError: for a factor or a number of steps that is not positive, or an argument that is
            to be given to the optimizer inside.
    """

    inner_optimizer: Optimizer | None = None

    def __init__(
        self,
        inner_optimizer: Any,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ):
        if is_torch_optimizer(inner_optimizer):
            inner_optimizer = TorchOptimizer(inner_optimizer)
        is_optimizer = isinstance(inner_optimizer, Optimizer)
        if not is_optimizer or isinstance(inner_optimizer, LossScaleOptimizer):
            raise TypeError(
                "LossScaleOptimizer: inner_optimizer must be an optimizer that scales no loss, "
                f"such as Adam(); received one of type {type(inner_optimizer).__name__}."
            )
        _refuse_arguments(kwargs)
        _check_positive("initial_scale", initial_scale, numbers.Real)
        _check_positive("dynamic_growth_steps", dynamic_growth_steps, numbers.Integral)
        super().__init__(0.0, name=name)
        self.initial_scale = initial_scale
        self.dynamic_growth_steps = dynamic_growth_steps
        self._scale = torch.tensor(float(initial_scale))
        self._counter = torch.zeros((), dtype=torch.int32)
        self.inner_optimizer = inner_optimizer
        # Otherwise gradients would be divided twice.
        inner_optimizer.loss_scale_factor = None

    # ------------------------------------------------------------------------ the wrapped object

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of the optimizer inside."""
        inner = self.inner_optimizer
        return self._own_groups if inner is None else inner.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self._own_groups = groups

    @property
    def state(self) -> dict[torch.Tensor, Any]:
        """The state of the optimizer inside."""
        return self._own_state if self.inner_optimizer is None else self.inner_optimizer.state

    @state.setter
    def state(self, state: dict[torch.Tensor, Any]) -> None:
        self._own_state = state

    @property
    def learning_rate(self) -> Variable:
        """The learning rate of the optimizer inside."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        self.inner_optimizer.learning_rate = rate

    @property
    def iterations(self) -> Any:
        """How many updates there have been, those that were skipped not counted."""
        return self.inner_optimizer.iterations

    @property
    def replayable(self) -> bool:
        """Whether the optimizer inside is."""
        return self.inner_optimizer.replayable

    def has_hooks(self) -> bool:
        """Tell whether torch's step hooks are to be called around updates, inside too."""
        return super().has_hooks() or self.inner_optimizer.has_hooks()

    def finalize_variable_values(self, var_list: Iterable[Any] | None = None) -> None:
        """Give weights the running means that the optimizer inside kept."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Keep some weights from decaying, as the optimizer inside does."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the optimizer inside."""
        if self.inner_optimizer is None:  # torch's constructor
            super().add_param_group(param_group)
        else:
            self.inner_optimizer.add_param_group(param_group)

    def build(self, variables: Iterable[Any]) -> None:
        """Build the optimizer inside."""
        variables = list(variables)
        if not self.built:
            self._scale.fill_(self.initial_scale)
        if variables:
            device = parameter_of(variables[0]).device
            self._scale, self._counter = self._scale.to(device), self._counter.to(device)
        self.inner_optimizer.build(variables)
        self._adopt(variables)

    def enter_flat(self) -> None:
        """Let the optimizer inside work on flat memory."""
        self.inner_optimizer.enter_flat()

    def leave_flat(self) -> None:
        """Let the optimizer inside leave flat memory."""
        self.inner_optimizer.leave_flat()

    @property
    def _is_flat(self) -> bool:
        return self.inner_optimizer._is_flat

    # --------------------------------------------------------------------------------- updating

    @property
    def dynamic_scale(self) -> Variable:
        """The factor."""
        return Variable.of(self, Weight("dynamic_scale", "_scale", trainable=False))

    @property
    def step_counter(self) -> Variable:
        """How many steps there have been since the factor changed."""
        return Variable.of(self, Weight("step_counter", "_counter", trainable=False))

    def scale_loss(self, loss: Any) -> torch.Tensor:
        """Return the loss times the factor, in single precision at least: the product is large."""
        loss = torch.as_tensor(loss)
        scale = self._scale if self.built else self.initial_scale
        return loss.to(torch.promote_types(loss.dtype, torch.float32)) * scale

    def _update(
        self, gradients: Sequence[torch.Tensor | None], expected: set[int] | None = None
    ) -> None:
        if len(gradients) != len(self._model_variables) or not self.built:
            self._refuse(gradients)
        scale, counter, inner = self._scale, self._counter, self.inner_optimizer
        with torch.no_grad():
            is_finite = _are_finite(gradients, scale.device)
            unscaled = [None if g is None else g / scale.to(g.device) for g in gradients]
            if inner.replayable and not inner.has_hooks():
                inner._settle()
                with only_where(is_finite, inner._held()):
                    inner._update(unscaled, expected)
            elif bool(is_finite):
                arguments = inner._call_pre_hooks(unscaled)
                inner._update(arguments[0], expected)
                inner._call_post_hooks(arguments)
            has_grown = counter == self.dynamic_growth_steps - 1
            counter.copy_(torch.where(is_finite & ~has_grown, counter + 1, 0))
            factor = torch.where(has_grown, 2.0, 1.0)
            scale.mul_(torch.where(is_finite, factor, 0.5))

    # --------------------------------------------------------------------------------- the state

    @property
    def variables(self) -> list[Variable]:
        """Those of this optimizer, of which the first two never change, then those inside."""
        settings = self._own_groups[0]
        owner = _Own(settings["iterations"], settings["lr"], self.name)
        found = [
            Variable.of(owner, Weight("iteration", "count", trainable=False)),
            Variable.of(owner, Weight("learning_rate", "rate", trainable=False)),
        ]
        if self.built:
            found += [self.step_counter, self.dynamic_scale]
        return found + self.inner_optimizer.variables

    def tensors(self) -> list[torch.Tensor]:
        """Return every tensor that an update uses besides parameters and gradients."""
        return [self._scale, self._counter, *self.inner_optimizer.tensors()]

    def state_dict(self) -> dict[str, Any]:
        """Return the factor, its counter, and the state of the optimizer inside."""
        inner = self.inner_optimizer.state_dict()
        return {"scale": self._scale.clone(), "counter": self._counter.clone(), "inner": inner}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Write what :meth:`state_dict` returned.

        Raises:
            ValueError: when not built, or when the state is that of another optimizer.
        """
        missing = {"scale", "counter", "inner"} - set(state_dict)
        if missing:
            raise ValueError(
                f"LossScaleOptimizer: the state to load lacks {sorted(missing)}: it is another "
                "optimizer's."
            )
        self.inner_optimizer.load_state_dict(state_dict["inner"])
        self._scale.copy_(state_dict["scale"])
        self._counter.copy_(state_dict["counter"])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this optimizer again (without its state)."""
        return {
            "name": self.name,
            "inner_optimizer": registry.serialize(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> LossScaleOptimizer:
        """Make the optimizer inside, then this one."""
        config = dict(config)
        inner = registry.deserialize("optimizer", config.pop("inner_optimizer"), custom_objects)
        return cls(inner, **config)


class _Own:
    """The count and the rate of the wrapper itself: Keras' files have them."""

    trainable = False

    def __init__(self, count: torch.Tensor, rate: torch.Tensor, path: str):
        self.count, self.rate, self.path = count, rate, path


def _are_finite(gradients: Sequence[torch.Tensor | None], device: torch.device) -> torch.Tensor:
    """Tell, by a 0-d tensor, whether no gradient has a number that is infinite or NaN."""
    given = [g for g in gradients if g is not None and g.numel()]
    if not given:
        return torch.ones((), dtype=torch.bool, device=device)
    # The largest absolute value of each in one call; NaN where there is one.
    largest = torch._foreach_norm(given, float("inf"))
    found = torch.stack([norm.to(device, torch.float64) for norm in largest])
    return torch.isfinite(found).all()


def _refuse_arguments(kwargs: dict[str, Any]) -> None:
    if not kwargs.pop("dynamic", True):
        raise ValueError(
            "LossScaleOptimizer: dynamic=False is not supported: its factor moves. Scale the loss "
            "yourself for one that does not."
        )
    for name, given in kwargs.items():
        if name not in _LEFT_TO_INNER:
            raise ValueError(f"LossScaleOptimizer does not know the argument {name!r}.")
        if given != _LEFT_TO_INNER[name]:
            raise ValueError(
                f"LossScaleOptimizer does not take {name}={given!r}: give it to inner_optimizer."
            )


def _check_positive(name: str, given: Any, kind: type) -> None:
    if isinstance(given, bool) or not isinstance(given, kind) or not given > 0:
        what = "a whole number" if kind is numbers.Integral else "a number"
        raise ValueError(f"LossScaleOptimizer: {name} must be {what} above 0; received {given!r}.")
