"""Models: what is defined, compiled, trained, evaluated and asked for predictions."""

from torchkeras.models.cloning import clone_model, model_from_config, model_from_json
from torchkeras.models.functional import Functional
from torchkeras.models.model import Model
from torchkeras.models.sequential import Sequential

__all__ = [
    "Functional",
    "Model",
    "Sequential",
    "clone_model",
    "model_from_config",
    "model_from_json",
]
