"""Symbolic tensors: a shape and a dtype, and the node that they come from."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from torchkeras import dtypes, tree

if TYPE_CHECKING:
    from torchkeras.graph.node import Node

# Methods of a real tensor that hand out numbers or places, which a symbolic one does not have.
_OF_VALUES = frozenset(
    "item tolist numpy data_ptr backward detach_ requires_grad_ untyped_storage storage stride "
    "storage_offset is_contiguous element_size get_device cpu cuda to size numel nelement "
    "share_memory_ pin_memory register_hook retain_grad apply_ map_ set_ resize_".split()
)


@dataclasses.dataclass(frozen=True)
class Spec:
    """What is known of a tensor that is not there yet.

    Args:
        shape: with the batch in front, ``None`` where unknown.
        dtype: Keras' name of the dtype.
    """

    shape: tuple[int | None, ...]
    dtype: str = "float32"


class History(NamedTuple):
    """Where a symbolic tensor comes from, as Keras names it."""

    operation: Any
    node_index: int
    tensor_index: int


class KerasTensor:
    """A tensor that is not there yet: a shape, a dtype and what it comes from.

    Operators, indexing and torch's functions on it record themselves and give symbolic tensors.
    It is no value: what needs numbers (``if``, ``float``, numpy) raises.

    Args:
        shape: with the batch in front, ``None`` where unknown.
        dtype: Keras' name of the dtype.
        sparse: must be false.
        ragged: must be false.
        record_history: as in Keras; of no effect on a tensor made by hand.
        name: shown in messages.
    """

    # numpy's numbers and arrays leave operators to it.
    __array_priority__ = 1000

    def __init__(
        self,
        shape: Any,
        dtype: str = "float32",
        sparse: bool = False,
        ragged: bool = False,
        record_history: bool = True,
        name: str | None = None,
    ):
        if sparse or ragged:
            raise ValueError("KerasTensor: sparse and ragged tensors are not supported.")
        self.shape = tuple(shape)
        self.dtype = dtypes.name_of(dtype)
        self.name = name or "keras_tensor"
        self.sparse = self.ragged = False
        self.record_history = record_history
        # The node and the number of its output that this is.
        self._node: Node | None = None
        self._index = 0

    @classmethod
    def output_of(cls, node: Node, index: int) -> KerasTensor:
        """Make the symbolic tensor of a node's output."""
        spec = node.specs[index]
        tensor = cls(spec.shape, spec.dtype, name=f"{node.operation.name}_output")
        if not node.parents:
            tensor.name = node.operation.name
        tensor._node, tensor._index = node, index
        return tensor

    # Lets `array + tensor` come to the tensor's own operator.
    __array_ufunc__ = None

    @property
    def source(self) -> Any:
        """The layer or operation that it comes from; ``None`` for one made by hand."""
        return None if self._node is None else self._node.operation

    @property
    def _keras_history(self) -> History:
        """Operation, number of its call and number of the output, as Keras keeps them."""
        if self._node is None:
            return History(None, 0, 0)
        return History(self._node.operation, self._node.index, self._index)

    @property
    def ndim(self) -> int:
        """Number of dimensions, the batch included."""
        return len(self.shape)

    @property
    def _keras_shape(self) -> tuple[int | None, ...]:
        """The shape, as layers written for Keras 1 and 2 read it."""
        return self.shape

    def dim(self) -> int:
        """Return the number of dimensions, the batch included."""
        return len(self.shape)

    @property
    def T(self) -> KerasTensor:
        """The tensor with its axes in reverse order."""
        return torch.permute(self, tuple(reversed(range(self.ndim))))

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return _record(function, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        # Tensor methods, such as x.reshape(…), are recorded like torch's functions.
        method = None if name.startswith("_") else getattr(torch.Tensor, name, None)
        if callable(method) and name not in _OF_VALUES:
            return lambda *args, **kwargs: _record(method, (self, *args), kwargs)
        raise AttributeError(
            f"A symbolic tensor has no attribute {name!r}: it holds no numbers yet. Write what "
            "needs them in a layer's call()."
        )

    def __getitem__(self, key: Any) -> KerasTensor:
        return _record(operator.getitem, (self, key), {})

    # --------------------------------------------------------------------------- no value

    def _refuse(self, wanted: str) -> TypeError:
        return TypeError(
            f"{self!r} is symbolic: it holds no numbers yet, so {wanted}. Use torch functions on "
            "it, or write the code in a layer's call() or a Lambda, where tensors are real."
        )

    def __bool__(self):
        raise self._refuse("it cannot decide an `if` or `while`; use torch.where(condition, a, b)")

    def __float__(self):
        raise self._refuse("it cannot become a float")

    def __int__(self):
        raise self._refuse("it cannot become an int")

    def __index__(self):
        raise self._refuse("it cannot be an index")

    def __array__(self, dtype: Any = None, copy: bool | None = None):
        # Of the type that Keras raises.
        raise ValueError(self._refuse("it cannot become a numpy array"))

    def __iter__(self):
        raise self._refuse("it cannot be iterated over; use torch.unbind(x, dim)")

    def __len__(self):
        raise self._refuse("it has no length; use x.shape[0]")

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> KerasTensor:
        # Only a graph, which knows what its tensors come from, copies those that have a node.
        if self._node is not None:
            return self
        return KerasTensor(self.shape, self.dtype, name=self.name)


def is_symbolic(*structures: Any) -> bool:
    """Tell whether any symbolic tensor lies in some structures."""
    return any(isinstance(leaf, KerasTensor) for leaf in tree.leaves(structures))


def _record(function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    # Imported here because recording makes symbolic tensors.
    from torchkeras.graph.operation import record

    return record(function, args, kwargs)


def _of_torch(other: Any) -> Any:
    """Make a tensor of an array, which knows nothing of tensors in its own operators."""
    if isinstance(other, np.generic):
        return other.item()
    return torch.as_tensor(other) if isinstance(other, np.ndarray) else other


def _operator(function: Callable, is_reflected: bool = False) -> Callable:
    @functools.wraps(function)
    def operate(self: KerasTensor, *others: Any) -> KerasTensor:
        others = tuple(map(_of_torch, others))
        args = (*others, self) if is_reflected else (self, *others)
        return _record(function, args, {})

    return operate


for _name in "add sub mul truediv floordiv mod pow matmul and_ or_ xor".split():
    _plain = _name.strip("_")
    setattr(KerasTensor, f"__{_plain}__", _operator(getattr(operator, _name)))
    setattr(KerasTensor, f"__r{_plain}__", _operator(getattr(operator, _name), is_reflected=True))
for _name in "lt le gt ge ne neg abs invert".split():
    setattr(KerasTensor, f"__{_name}__", _operator(getattr(operator, _name)))
# As in Keras, `==` compares identities: symbolic tensors are keys and are looked up in lists.
KerasTensor.__eq__ = object.__eq__
KerasTensor.__hash__ = object.__hash__
