"""Callbacks: what is told of each epoch and batch of a run."""

from torchkeras.callbacks.callback import Callback, LambdaCallback
from torchkeras.callbacks.callback_list import CallbackList, run_params
from torchkeras.callbacks.history import History
from torchkeras.callbacks.progbar import ProgbarLogger

__all__ = ["Callback", "CallbackList", "History", "LambdaCallback", "ProgbarLogger", "run_params"]
