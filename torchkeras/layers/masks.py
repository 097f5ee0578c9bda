"""Masks: which steps of a tensor count, kept as the attribute ``_keras_mask`` of the tensor."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras import tree
from torchkeras.graph import layers_changed
from torchkeras.warn import warn_user

# Whether anything made a mask: until then tensors need not be asked for one.
_in_use = False


def in_use() -> bool:
    """Tell whether any layer makes masks, or a call was given one."""
    return _in_use


def use() -> None:
    """Look for masks from here on."""
    global _in_use
    if not _in_use:
        _in_use = True
        layers_changed()


def mask_of(structure: Any) -> Any:
    """Return the masks of tensors in their structure, ``None`` for a tensor without."""
    return tree.map_structure(lambda leaf: getattr(leaf, "_keras_mask", None), structure)


def hand_over(tensor: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
    """Give a converted tensor the mask of the one that it was made of; return it."""
    mask = getattr(tensor, "_keras_mask", None)
    if mask is not None and to is not tensor:
        to._keras_mask = mask
    return to


def given_to(layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Fill the mask arguments of a call from the tensors' masks, as Keras does.

    Args:
        layer: which is called.
        args: the call's positional arguments, inputs first.
        kwargs: the others; a missing ``mask``, or ``<name>_mask`` where there are several tensors,
            is added.

    Returns:
        The mask of the inputs.
    """
    names = layer._call_names
    given = {**dict(zip(names, args)), **kwargs}
    tensors = {
        name: part
        for name, part in given.items()
        if not name.endswith("mask") and any(map(_is_tensor, tree.leaves(part)))
    }
    if len(tensors) == 1 and "mask" in names and given.get("mask") is None:
        kwargs["mask"] = mask_of(next(iter(tensors.values())))
    elif len(tensors) > 1:
        for name, part in tensors.items():
            wanted = f"{name}_mask"
            if wanted in names and given.get(wanted) is None:
                kwargs[wanted] = mask_of(part)
    return mask_of(args[0]) if kwargs.get("mask") is None else kwargs["mask"]


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)


def attach(layer: Any, inputs: Any, outputs: Any, previous: Any) -> Any:
    """Give the outputs of a call their masks.

    Args:
        layer: which was called.
        inputs: its first argument.
        outputs: what it returned.
        previous: the mask of the inputs.

    Returns:
        The outputs; one that is an input itself is replaced by a view of it, since the mask would
        be the caller's tensor's too.
    """
    if not layer.supports_masking:
        if not layer._is_model and any(mask is not None for mask in tree.leaves(previous)):
            warn_user(
                f"Layer {layer.name!r} ({type(layer).__name__}) was passed an input with a mask, "
                "which it does not support: the layers after it will not see the mask."
            )
        return outputs
    found = tree.flatten(outputs)
    if all(getattr(tensor, "_keras_mask", None) is not None for tensor in found):
        return outputs
    masks = layer.compute_mask(inputs, previous)
    if masks is None:
        return outputs
    masks = tree.flatten(masks)
    callers = {id(leaf) for leaf in tree.leaves(inputs)}
    for index, (tensor, mask) in enumerate(zip(found, masks)):
        if mask is None or getattr(tensor, "_keras_mask", None) is not None:
            continue
        if id(tensor) in callers:
            tensor = found[index] = tensor.view_as(tensor)
        tensor._keras_mask = mask
    return tree.pack_like(outputs, found)
