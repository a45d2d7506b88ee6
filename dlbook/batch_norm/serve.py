"""Reads digits with NumPy and nothing else: `python serve.py reader.npz`.

One digit a line comes in, 64 numbers, and its answer goes out. The file holds `W1`, `b1`, `W2`, ... of a
network without batch norm, or with its batch norm folded in.
"""

import sys

import numpy as np


def load(path):
    """The (W, b) of each layer, from the first to the last."""
    with np.load(path) as file:
        return [(file[f"W{i}"], file[f"b{i}"]) for i in range(1, len(file.files) // 2 + 1)]


def read(layers, x):
    """The digit that the pixels `x` (64,) show."""
    for W, b in layers[:-1]:
        x = np.maximum(x @ W + b, 0)
    W, b = layers[-1]
    return int(np.argmax(x @ W + b))


if __name__ == "__main__":
    layers = load(sys.argv[1])
    for line in sys.stdin:
        print(read(layers, np.array(line.split(), dtype="float32")), flush=True)
