"""What importing torchkeras and a first fit load: nothing slow, nothing optional."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
import torch
before = set(sys.modules)
import torchkeras
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
assert loaded <= {"torchkeras"} | set(sys.stdlib_module_names), loaded
from torchkeras.layers import BatchNormalization, Dense, Dropout
from torchkeras.models import Sequential
import numpy as np
model = Sequential([
    Dense(4, activation="relu", input_dim=3, kernel_regularizer="l2", kernel_constraint="max_norm"),
    BatchNormalization(), Dropout(0.1), torch.nn.Linear(4, 4), Dense(1, activation="sigmoid"),
])
x, y = np.random.rand(20, 3), np.random.randint(0, 2, 20)
for name in "sgd rmsprop adam adamw adagrad adadelta adamax nadam".split():
    model.compile(name, "binary_crossentropy", metrics=["accuracy", "mae"])
    model.fit(x, y, validation_split=0.2, verbose=0)
model.evaluate(x, y, verbose=0)
model.predict(x, verbose=0)
model.train_on_batch(x, y)
slow = {"torch._dynamo", "torch.onnx", "pandas", "h5py", "matplotlib"} & set(sys.modules)
assert not slow, slow
"""


def test_nothing_slow_is_loaded_on_the_way_to_a_first_fit():
    root = Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=root, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
