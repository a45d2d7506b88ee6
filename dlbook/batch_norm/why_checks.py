"""Checks for the exercises of the chapter on why batch norm works; each prints one line about the answer."""

from collections.abc import Callable

import numpy as np

from dlbook.checks import NOT_ATTEMPTED, attempt, diagnose


def _say(got, right, mistakes, name) -> None:
    print(NOT_ATTEMPTED if got is None else diagnose(got, right, mistakes, name=name))


def ghost(function: Callable) -> None:
    """Exercise 1: `function(x, size)` normalises each `size` neighbouring rows of `x` (m, features) on their own."""
    x = np.random.default_rng(0).standard_normal((12, 3)) * [1, 2, 5] + 7
    size, eps = 4, 1e-5

    def normalised(a, axis, ddof=0):
        return (a - a.mean(axis=axis, keepdims=True)) / np.sqrt(
            a.var(axis=axis, keepdims=True, ddof=ddof) + eps
        )

    parts = x.reshape(3, size, 3)
    right = normalised(parts, 1).reshape(x.shape)
    strided = x.reshape(size, 3, 3)
    mistakes = {
        "that is ordinary batch norm: each group needs its own mean and variance": normalised(x, 0),
        "your variance divides by size - 1": normalised(parts, 1, ddof=1).reshape(x.shape),
        "you averaged over the features: that is layer norm": normalised(x, 1),
        "you averaged over the groups, not inside them": normalised(parts, 0).reshape(x.shape),
        "your groups hold every third row; neighbouring rows belong together": normalised(strided, 0).reshape(
            x.shape
        ),
        "size is the number of rows in a group; you made size groups": normalised(strided, 1).reshape(
            x.shape
        ),
        "the result still has its groups apart: give it the shape of x": right.reshape(parts.shape),
        "you subtracted each group's mean but did not divide": (parts - parts.mean(1, keepdims=True)).reshape(
            x.shape
        ),
    }
    got = attempt(function, x, size)
    if got is not None and np.shape(got) == parts.shape:
        print("the result still has its groups apart: give it the shape of x")
        return
    _say(got, right, mistakes, "the output")


def schedule(function: Callable) -> None:
    """Exercise 2: `function(rate, decay, steps)` is the rising rates that replace weight decay, (steps,)."""
    rate, decay, steps = 0.2, 0.5, 6
    kept, at = 1 - rate * decay, np.arange(steps)
    right = rate * kept ** -(2.0 * at + 1)
    up = {name: rate * kept**-exponent for name, exponent in (
        ("the decay acts before the first step already, so the exponent starts at 1", 2.0 * at),
        ("the exponent grows by 2 a step: once for the gradient, once for the weights", at + 1.0),
        ("the exponent grows by 2 a step, and starts at 1", 1.0 * at),
        ("the exponent starts at 1 and grows by 2; yours starts at 2", 2.0 * at + 2),
    )}  # fmt: skip
    mistakes = up | {
        "your rates fall: weights without decay are longer, and need larger steps": rate
        * kept ** (2.0 * at + 1),
        "the factor is 1 - rate * decay, not 1 - decay": rate * (1 - decay) ** -(2.0 * at + 1),
        "you gave the factors; times rate they are the rates": right / rate,
    }
    _say(attempt(function, rate, decay, steps), right, mistakes, "the rates")


def trunk(function: Callable) -> None:
    """Exercise 3: `function(h, weights)` lists the variance of the trunk after every residual block."""
    rng = np.random.default_rng(0)
    h, weights = rng.standard_normal((40, 6)), rng.standard_normal((3, 6, 6))

    def run(block):
        values, at = [], h
        for W in weights:
            at = block(at, W)
            values.append(at.var())
        return np.array(values)

    def normal(a):
        return (a - a.mean(axis=0)) / np.sqrt(a.var(axis=0) + 1e-5)

    right = run(lambda at, W: at + np.maximum(normal(at), 0) @ W)
    mistakes = {
        "there is no skip connection: add the block's input to its output": run(
            lambda at, W: np.maximum(normal(at), 0) @ W
        ),
        "your batch norm sits on the trunk, after the addition: it belongs on the branch": run(
            lambda at, W: normal(at + np.maximum(at, 0) @ W)
        ),
        "your ReLU comes after the addition: it belongs on the branch": run(
            lambda at, W: np.maximum(at + normal(at) @ W, 0)
        ),
        "the branch has no ReLU": run(lambda at, W: at + normal(at) @ W),
        "the branch has no batch norm": run(lambda at, W: at + np.maximum(at, 0) @ W),
        "batch norm and ReLU come before the weights": run(lambda at, W: at + np.maximum(normal(at @ W), 0)),
        "you gave standard deviations: square them": np.sqrt(right),
        "the variance before the first block is not asked for": np.append(h.var(), right[:-1]),
    }
    got = attempt(function, h, weights)
    if got is not None and np.shape(got) == (len(weights) + 1,):
        print("there is one variance for each block, after it: the one before the first is not asked for")
        return
    _say(got, right, mistakes, "the list of variances")
