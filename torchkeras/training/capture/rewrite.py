"""The list of rules, in the order in which they are applied."""

from __future__ import annotations

from torchkeras.training.capture.program import Program, Rule
from torchkeras.training.capture.rules import (
    adam,
    buffers,
    convolution,
    crossentropy,
    dropout,
    gradients,
    layout,
    masks,
    products,
    scalars,
    simplify,
    softmax,
)

RULES: tuple[Rule, ...] = (
    simplify.drop_aliases,
    Program.drop_dead,
    simplify.fold_constants,
    crossentropy.sigmoid_crossentropy,
    crossentropy.softmax_crossentropy,
    scalars.drop_identities,
    scalars.merge_factors,
    adam.tabulate_corrections,
    buffers.keep_zeroed_memory,
    Program.drop_dead,
    convolution.undo_relu_in_place,
    convolution.drop_unused_gradients,
    convolution.fuse_relu,
    convolution.mask_pooled_gradient,
    # The rules on dropout and products look for calls without copies between them.
    dropout.dropout_from_bits,
    products.fuse_relu_into_product,
    layout.channels_last,
    gradients.write_gradients_in_place,
    convolution.mask_gradient_in_place,
    convolution.write_pooled_gradient_over_input,
    simplify.compute_in_place,
    softmax.softmax_by_columns,
    masks.masks_together,
    products.sums_as_products,
    scalars.numbers_as_tensors,
    Program.drop_dead,
)


def rewrite(program: Program) -> dict[str, int]:
    """Make a program shorter; return how often each rule was applied."""
    applied: dict[str, int] = {}
    for rule in RULES:
        count = rule(program)
        if count:
            applied[rule.__name__] = applied.get(rule.__name__, 0) + count
    return applied
