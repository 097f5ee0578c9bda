"""compile, fit, evaluate, predict: the training loop and what it is made of."""

from torchkeras.training.trainer import Trainer

__all__ = ["Trainer"]
