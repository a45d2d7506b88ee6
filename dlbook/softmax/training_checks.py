"""Checks for the exercises of the chapter on training; each prints one line about the reader's function."""

from collections.abc import Callable

import numpy as np
from scipy.special import softmax
from scipy.stats import beta

from dlbook.checks import NOT_ATTEMPTED, attempt, diagnose

LOGITS = np.array([[5.0, 2.0, -1.0], [1.0, 1.5, 0.0], [0.5, -3.0, 2.0], [0.0, 0.0, 4.0]])
LABELS = np.array([1, 1, 0, 2])


def mean_gradient(function: Callable) -> None:
    """Exercise 1: `function(z, y)` is the gradient in z (m, C) of the mean cross-entropy over the rows."""
    got = attempt(function, LOGITS, LABELS)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    m, classes = LOGITS.shape
    p, one_hot = softmax(LOGITS, axis=1), np.eye(classes)[LABELS]
    dz = p - one_hot
    mistakes = {
        "the 1/m is missing: that is the gradient of the sum over the rows": dz,
        "you divide by m times C; the mean is over rows only": dz / (m * classes),
        "the sign is wrong: gradient descent would make the right class less probable": -dz / m,
        "that is the probability alone; subtract 1 in the place of the right class": p / m,
        "you subtract the label's number, not 1 in its place": (p - LABELS[:, None]) / m,
        "your softmax runs over the batch: the classes lie along the last axis": (
            softmax(LOGITS, axis=0) - one_hot
        )
        / m,
    }
    print(diagnose(got, dz / m, mistakes, name="the gradient"))


def squared_gradient(function: Callable) -> None:
    """Exercise 2: `function(z, y)` is the gradient in z (m, C) of the sum over rows of |softmax(z) - one-hot|²."""
    got = attempt(function, LOGITS, LABELS)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    p, one_hot = softmax(LOGITS, axis=1), np.eye(LOGITS.shape[1])[LABELS]
    error = p - one_hot
    right = 2 * p * (error - (p * error).sum(axis=1, keepdims=True))
    mistakes = {
        "that is the gradient in the probabilities; it still has to go through softmax": 2 * error,
        "that is the gradient of cross-entropy": error,
        "the 2 of the square is missing": right / 2,
        "only the diagonal of the Jacobian is there: raising one logit lowers all other probabilities": (
            2 * error * p * (1 - p)
        ),
        "the other half of the Jacobian is missing: subtract p times the sum of p dp": 2 * p * error,
        "the sum runs over the whole batch; each row has its own": 2 * p * (error - (p * error).sum()),
    }
    print(diagnose(got, right, mistakes, name="the gradient"))


def threshold(function: Callable) -> None:
    """Exercise 3: `function(confidence, right, target)` is the lowest confidence from which errors are rare enough.

    Rare enough: with 95 % certainty at most `target` of the answers with at least that confidence are wrong, by the
    Clopper-Pearson upper bound on the validation data; infinity where no threshold will do.
    """
    rng = np.random.default_rng(0)
    confidence = np.round(rng.uniform(0.3, 1, 400), 6)
    right = rng.random(400) < confidence
    got = [attempt(function, confidence, right, target) for target in (0.1, 0.3, 0.001)]
    if any(one is None for one in got):
        print(NOT_ATTEMPTED)
        return
    wanted = [lowest(confidence, right, target, bound) for target in (0.1, 0.3, 0.001)]
    mistakes = {
        "you compare the observed error with the target; with few answers it may be low by luck, so bound it": [
            lowest(confidence, right, target, lambda k, n: k / n) for target in (0.1, 0.3, 0.001)
        ],
        "your bound is two-sided; only too many errors are a danger, so all 5 % go to the upper side": [
            lowest(confidence, right, target, lambda k, n: bound(k, n, 0.975)) for target in (0.1, 0.3, 0.001)
        ],
        "you bound the share of right answers from above, not that of wrong ones": [
            lowest(confidence, ~right, target, bound) for target in (0.1, 0.3, 0.001)
        ],
    }
    print(diagnose(np.array(got, dtype=float), np.array(wanted), mistakes, name="the thresholds"))


def bound(wrong: int, n: int, level: float = 0.95) -> float:
    """The error rate that `wrong` of `n` rules out at `level`, from above (Clopper and Pearson 1934)."""
    return 1.0 if wrong == n else float(beta.ppf(level, wrong + 1, n - wrong))


def lowest(confidence, right, target: float, rate: Callable[[int, int], float]) -> float:
    """The lowest confidence such that `rate(wrong, n)` of the answers at or above it is at most `target`."""
    order = np.argsort(-confidence)
    wrong = np.cumsum(~right[order])
    fits = [rate(int(k), n) <= target for n, k in enumerate(wrong, start=1)]
    return float(confidence[order][np.flatnonzero(fits)[-1]]) if any(fits) else np.inf
