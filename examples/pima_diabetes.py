"""Predict diabetes from eight measurements: define, compile, fit, evaluate, predict.

A plain Keras script. Run it on PyTorch with

    python -m torchkeras examples/pima_diabetes.py
"""

import argparse
import os

import keras
import numpy as np
from keras.layers import Dense
from keras.models import Sequential

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=150)
parser.add_argument("--seed", type=int, default=7)
parser.add_argument("--verbose", type=int, default=2, choices=[0, 1, 2])
args = parser.parse_args()

keras.utils.set_random_seed(args.seed)

# The data: 768 rows of 8 measurements and a label.
folder = os.path.dirname(os.path.abspath(__file__))
data = np.loadtxt(os.path.join(folder, "data", "pima-indians-diabetes.csv"), delimiter=",")
measured, y = data[:, :8], data[:, 8]
x = (measured - measured.mean(axis=0)) / measured.std(axis=0)

# Define
model = Sequential()
model.add(Dense(12, input_shape=(8,), activation="relu"))
model.add(Dense(1, activation="sigmoid"))
model.summary()

# Compile
model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])

# Fit
model.fit(x, y, epochs=args.epochs, batch_size=10, verbose=args.verbose)

# Evaluate
loss, accuracy = model.evaluate(x, y, verbose=0)
print(f"loss: {loss:.4f}  accuracy: {accuracy:.4f}")

# Predict
probabilities = model.predict(x[:5], verbose=0)
for row, probability, label in zip(measured[:5], probabilities[:, 0], y[:5]):
    print(f"{row.tolist()} => {probability:.2f} (expected {label:.0f})")
