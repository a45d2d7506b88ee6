"""The experiments of the chapter on normalising activations: settings and seeds in, plain arrays out."""

from typing import NamedTuple

import numpy as np
from sklearn import datasets

from dlbook.data import standardise


class Descent(NamedTuple):
    """Gradient descent on logistic regression with the inputs in one scaling."""

    condition: float  # the ratio of the largest to the smallest curvature at the start
    loss: np.ndarray  # (steps + 1,), nats


def scalings(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same inputs raw, with each feature's mean removed, and standardised."""
    return {"raw": x, "centred": x - x.mean(axis=0), "standardised": standardise(x)[0]}


def descend(x: np.ndarray, y: np.ndarray, steps: int) -> Descent:
    """Logistic regression by gradient descent from zero, at the learning rate 1/L that the curvature allows.

    `x` (n, d), `y` (n,) in {0, 1}. L is the largest eigenvalue of the Hessian at zero, where the loss curves most,
    so 1/L never diverges: each scaling gets the largest step that is safe for it.
    """
    x = np.column_stack([x, np.ones(len(x))])
    curvature = np.linalg.eigvalsh(x.T @ x / (4 * len(x)))
    w, losses = np.zeros(x.shape[1]), []
    for _ in range(steps + 1):
        z = x @ w
        losses.append(np.mean(np.logaddexp(0, z) - y * z))
        w = w - x.T @ (1 / (1 + np.exp(-z)) - y) / len(x) / curvature[-1]
    return Descent(float(curvature[-1] / curvature[0]), np.array(losses))


def inputs_first(steps: int = 1000) -> dict[str, dict[str, Descent]]:
    """`descend` on wine (the second grower against the rest) and on the tumours, in each of the `scalings`."""
    wine, tumours = datasets.load_wine(), datasets.load_breast_cancer()
    tasks = {"wine": (wine.data, wine.target == 1), "tumours": (tumours.data, tumours.target)}
    return {
        task: {name: descend(scaled, y, steps) for name, scaled in scalings(x).items()}
        for task, (x, y) in tasks.items()
    }
