"""Losses: functions that give one value a sample, and classes that reduce them to one number."""

import sys
from typing import Any

from torchkeras import registry
from torchkeras.graph import HOMES
from torchkeras.losses.checks import check_targets
from torchkeras.losses.choose import as_loss, choose, is_by_shape
from torchkeras.losses.circle import Circle, circle
from torchkeras.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)
from torchkeras.losses.divergence import KLDivergence, Poisson, kl_divergence, poisson
from torchkeras.losses.focal import (
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    binary_focal_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
)
from torchkeras.losses.hinge import (
    CategoricalHinge,
    Hinge,
    SquaredHinge,
    categorical_hinge,
    hinge,
    squared_hinge,
)
from torchkeras.losses.loss import Loss, LossFunctionWrapper, serialize
from torchkeras.losses.overlap import Dice, Tversky, dice, tversky
from torchkeras.losses.reduction import Reduction
from torchkeras.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    cosine_proximity,
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)
from torchkeras.losses.sequence import CTC, ctc
from torchkeras.registry import accessors

get, _, _ = accessors("loss")

bce = BCE = binary_crossentropy
mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
kld = KLD = kullback_leibler_divergence = kl_divergence
logcosh = log_cosh
huber_loss = huber
cosine = cosine_proximity


def deserialize(name: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Make a loss from its name, or from what :func:`serialize` returned.

    Args:
        name: either.
        custom_objects: names for this look-up only.

    Raises:
        ValueError: for an unknown name, with the nearest known names.
    """
    return registry.deserialize("loss", name, custom_objects)


def is_categorical_crossentropy(loss: Any) -> bool:
    """Tell whether a name, a function or a Loss is the crossentropy of one-hot targets."""
    function = getattr(loss, "fn", loss)
    return function in (categorical_crossentropy, CategoricalCrossentropy.__name__) or (
        getattr(function, "__name__", function) == categorical_crossentropy.__name__
    )


# Where a model's config finds the functions that were called on symbolic tensors.
HOMES["torchkeras.losses"] = sys.modules[__name__]

__all__ = [
    "BCE",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CTC",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "CategoricalHinge",
    "Circle",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLD",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "LossFunctionWrapper",
    "MAE",
    "MAPE",
    "MSE",
    "MSLE",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "Reduction",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "Tversky",
    "as_loss",
    "bce",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "check_targets",
    "choose",
    "circle",
    "cosine",
    "cosine_proximity",
    "cosine_similarity",
    "ctc",
    "deserialize",
    "dice",
    "get",
    "hinge",
    "huber",
    "huber_loss",
    "is_by_shape",
    "is_categorical_crossentropy",
    "kl_divergence",
    "kld",
    "kullback_leibler_divergence",
    "log_cosh",
    "logcosh",
    "mae",
    "mape",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "mse",
    "msle",
    "poisson",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "tversky",
]
