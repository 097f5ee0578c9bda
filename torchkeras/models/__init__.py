"""Models: what is defined, compiled, trained, evaluated and asked for predictions."""

from torchkeras.models.model import Model
from torchkeras.models.sequential import Sequential

__all__ = ["Model", "Sequential"]
