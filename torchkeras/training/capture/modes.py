"""The two torch modes that a step is recorded under: one above autograd, one below."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from torchkeras.training.capture.program import aten

# What hands a tensor's numbers to Python or numpy without a call that dispatch would see.
_READS = frozenset(
    "numpy __array__ tolist __dlpack__ data_ptr __cuda_array_interface__ untyped_storage storage "
    "__deepcopy__ __reduce_ex__ __reduce__".split()
)
VALUE_READS = {
    aten._local_scalar_dense.default,
    aten.item.default,
    aten.equal.default,
    aten.is_nonzero.default,
}
# Each changes the shape of a tensor itself; with the call that makes a view instead.
VIEWS = {
    aten.transpose_.default: aten.transpose.int,
    aten.t_.default: aten.t.default,
    aten.unsqueeze_.default: aten.unsqueeze.default,
    aten.squeeze_.default: aten.squeeze.default,
    aten.squeeze_.dim: aten.squeeze.dim,
}


class Above(TorchFunctionMode):
    """Sees the reads that dispatch does not."""

    def __init__(self):
        super().__init__()
        self.hazards: list[str] = []
        # Whether the values read now are only checked, as the range of class numbers is.
        self.is_checking = False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _READS:
            self.hazards.append(f"{name}() hands a tensor to Python")
        elif name in ("__get__", "__set__"):
            self._look_at_attribute(name, func)
        elif name == "tensor_split" and any(isinstance(a, torch.Tensor) for a in args[1:]):
            self.hazards.append("tensor_split() reads where to split from a tensor")
        elif name == "one_hot" and _class_count(args, kwargs) > 0:
            self.is_checking = True
            try:
                return func(*args, **kwargs)
            finally:
                self.is_checking = False
        return func(*args, **kwargs)

    def _look_at_attribute(self, name: str, func: Any) -> None:
        attribute = getattr(func, "__self__", None)
        title = getattr(attribute, "__name__", "") or getattr(
            getattr(attribute, "fget", None), "__name__", ""
        )
        if title in _READS:
            self.hazards.append(f"{title} hands a tensor to Python")
        elif title == "data" and name == "__set__":
            self.hazards.append("the step gives a tensor other memory (.data = …)")


def _class_count(args: tuple, kwargs: dict[str, Any]) -> int:
    count = args[1] if len(args) > 1 else kwargs.get("num_classes", -1)
    return count if isinstance(count, int) else -1


class Below(TorchDispatchMode):
    """Tells of every call below autograd, and keeps nothing: what dies then in a step dies here.

    Args:
        note: takes operator, arguments, arguments by name and result of each call once it is made.
        above: knows which reads are only checks.
        root: the model, whose mode must not change meanwhile: another thread may use it.
        generators: those whose states must not change but by calls.
    """

    def __init__(
        self,
        note: Callable[[Any, Sequence[Any], dict[str, Any], Any], None],
        above: Above,
        root: torch.nn.Module | None,
        generators: list[torch.Generator],
    ):
        super().__init__()
        self.reseeded = False
        self.is_switched = False
        self._note = note
        self._above = above
        self._root = root
        self._training = root is not None and root.training
        self._generators = generators
        self._states = [generator.get_state() for generator in generators]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # The question whether dynamo may look into the mode would import it: 0.7 s.
        return False

    def look_at_generators(self) -> None:
        """Note whether a state was changed by something else than a random call."""
        states = [generator.get_state() for generator in self._generators]
        if not all(map(torch.equal, states, self._states)):
            self.reseeded = True

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self._root is not None and self._root.training is not self._training:
            self.is_switched = True
        if self._above.is_checking and func in VALUE_READS:
            return func(*args, **kwargs)
        is_random = self._generators and torch.Tag.nondeterministic_seeded in func.tags
        if is_random:
            with torch._C._DisableTorchDispatch():
                self.look_at_generators()
        out = func(*args, **kwargs)
        if is_random:
            with torch._C._DisableTorchDispatch():
                self._states = [generator.get_state() for generator in self._generators]
        self._tell(func, args, kwargs, out)
        return out

    def _tell(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> None:
        """Hand a call on; neither the mode above nor who watches Python need to see that."""
        watching = sys.getprofile()
        sys.setprofile(None)
        try:
            with torch._C.DisableTorchFunction():
                self._note(func, args, kwargs, out)
        finally:
            sys.setprofile(watching)
