"""Layers that compute in another dtype than that of their weights."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from torchkeras import dtypes
from torchkeras.layers.weighted import Weighted

# While one thread computes with cast weights, another must not take them for the weights.
_lock = threading.RLock()

# Layers cast for themselves; batch normalizations want their weights wide; scripts are closed.
_LEFT_OUT = (Weighted, _NormBase, torch.jit.ScriptModule)

Table = dict[str, torch.Tensor | None]


class cast_weights:
    """Lets a layer's ``call`` find its weights in the dtype that it computes in.

    Inside of the context the floating parameters of the layer itself, and of torch modules in it
    that are no layers, are copies; gradients flow through the cast to the parameters, which come
    back at the end.  Variables of any layer read as such copies too, buffers (which torch modules
    write to) only so.  Weights made with ``autocast=False`` and those of torch's batch
    normalizations, which want them wide, stay as they are, and so do all of a layer that was made
    with ``autocast=False``.

    Used around ``call`` where the layer's policy is mixed, or within the ``call`` of such a layer
    (:func:`is_casting`), whose dtype is not that of the layers inside.

    Args:
        layer: whose ``call`` runs inside.
    """

    __slots__ = ("_before", "_layer", "_locked", "_recurrent", "_swapped")

    def __init__(self, layer: Weighted):
        self._layer = layer

    def __enter__(self) -> None:
        self._locked = not torch.compiler.is_compiling()  # which knows no locks
        if self._locked:
            _lock.acquire()
        self._before = dtypes.autocast.dtype
        self._swapped: list[tuple[Table, str, torch.Tensor, torch.Tensor]] = []
        self._recurrent: list[nn.RNNBase] = []
        dtype = self._layer.dtype_policy.torch_compute_dtype
        if not self._layer.autocast or not dtype.is_floating_point:
            dtypes.autocast.dtype = None
            return
        dtypes.autocast.dtype = dtype
        try:
            self._cast(dtype)
        except BaseException:
            self.__exit__()
            raise

    def _cast(self, dtype: torch.dtype) -> None:
        layer = self._layer
        rows = (*layer.weight_map, *layer._added_rows)
        kept = {row.path for row in rows if not row.autocast}
        for prefix, module in _own_modules(layer):
            table = module._parameters
            for name, parameter in table.items():
                if (
                    parameter is None
                    or parameter.dtype is dtype
                    or not parameter.is_floating_point()
                    or (kept and prefix + name in kept)
                ):
                    continue
                copy = parameter.to(dtype)
                copy.uncast = parameter  # where Variable.assign writes
                self._swapped.append((table, name, parameter, copy))
            if isinstance(module, nn.RNNBase):
                self._recurrent.append(module)
        for table, name, _, copy in self._swapped:
            table[name] = copy
        self._list_again()

    def __exit__(self, *error: object) -> None:
        try:
            for table, name, parameter, copy in self._swapped:
                if table.get(name) is copy:  # and not what the call has put there
                    table[name] = parameter
            self._list_again()
        finally:
            dtypes.autocast.dtype = self._before
            if self._locked:
                _lock.release()

    def _list_again(self) -> None:
        """Let torch's recurrent modules, which keep a list of their parameters, see the others."""
        for module in self._recurrent:
            names = module._flat_weights_names
            module._flat_weights = [module._parameters.get(name) for name in names]


def is_casting() -> bool:
    """Tell whether this thread is within the ``call`` of a layer whose weights are cast."""
    return dtypes.autocast.dtype is not None


def _own_modules(layer: Weighted) -> Iterator[tuple[str, nn.Module]]:
    """Yield a layer and the torch modules in it that are to be cast, each with its path's start."""
    yield "", layer
    pending = [(f"{name}.", module) for name, module in layer._modules.items()]
    for prefix, module in pending:
        if module is None or isinstance(module, _LEFT_OUT):
            continue
        yield prefix, module
        pending += [(f"{prefix}{name}.", child) for name, child in module._modules.items()]
