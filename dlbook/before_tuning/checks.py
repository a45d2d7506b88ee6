"""Checks for the exercises of the chapter before tuning; each prints one line about the reader's function."""

from collections.abc import Callable

import numpy as np

from dlbook.checks import NOT_ATTEMPTED, attempt, diagnose

POWER = 2.8  # 1.96 + 0.84: two-sided 5 %, and four studies in five


def difference(function: Callable) -> None:
    """Exercise 1: `function(a, b)` is the mean of b - a and its standard error; both readers read the same digits."""
    rng = np.random.default_rng(0)
    a = (rng.random(60) < 0.8).astype(int)
    b = np.where(rng.random(60) < 0.2, 1 - a, a)
    got = attempt(function, a, b)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    if not isinstance(got, tuple) or len(got) != 2:
        print("return the pair: the difference, and its standard error")
        return
    n, d = len(a), b - a
    mistakes = {
        "the sign is turned: positive when b is the better one": -d.mean(),
        "that is in points; give it as a share, between -1 and 1": 100 * d.mean(),
        "you counted digits; divide by how many there are": d.sum(),
        "you counted where the two differ: a digit that b wins counts +1, one that a wins -1": np.mean(
            a != b
        ),
    }
    first = diagnose(got[0], d.mean(), mistakes, name="the difference")
    mistakes = {
        "you added the variances as if each reader had digits of its own; they share them: take differences first": (
            np.sqrt((a.var() + b.var()) / n)
        ),
        "you added the sample variances as if each reader had digits of its own; they share them: take differences "
        "first": np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / n),
        "that is the spread of one difference; the mean of n of them is steadier, by sqrt(n)": d.std(ddof=1),
        "that is the spread of one difference, with ddof=0; the mean of n is steadier, by sqrt(n)": d.std(),
        "divide by sqrt(n), not by n": d.std(ddof=1) / n,
        "that is the variance of the mean; take the root": d.var(ddof=1) / n,
        "the standard deviation of a sample divides by n - 1: ddof=1": d.std() / np.sqrt(n),
    }
    second = diagnose(got[1], d.std(ddof=1) / np.sqrt(n), mistakes, name="the standard error")
    print(first if first != "correct" else second)


def seeds_needed(function: Callable) -> None:
    """Exercise 2: `function(differences, effect)` is how many paired seeds see `effect` in four studies of five."""
    d = np.array([0.4, -1.2, 2.1, 0.9, 1.7, -0.3, 0.8, 2.6])
    effect = 0.5
    got = attempt(function, d, effect)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    s = d.std(ddof=1)
    right = np.ceil((POWER * s / effect) ** 2)
    mistakes = {
        "with 2 standard errors the study sees the effect every other time; four in five takes 2.8": np.ceil(
            (2 * s / effect) ** 2
        ),
        "you did not round up to whole seeds": (POWER * s / effect) ** 2,
        "you rounded down: one seed too few": np.floor((POWER * s / effect) ** 2),
        "the error falls as 1 / sqrt(n), so n takes the square": np.ceil(POWER * s / effect),
        "you squared the variance: the formula takes the standard deviation": np.ceil(
            (POWER * s**2 / effect) ** 2
        ),
        "you used the mean that was seen for the effect; take the effect that you want to see": np.ceil(
            (POWER * s / d.mean()) ** 2
        ),
        "the standard deviation of a sample divides by n - 1: ddof=1": np.ceil(
            (POWER * d.std() / effect) ** 2
        ),
    }
    print(diagnose(got, right, mistakes, name="the number of seeds", rtol=1e-9))


def select(function: Callable) -> None:
    """Exercise 3: `function(x, y, train, k)` is the k features that part two classes, chosen on the rows `train`."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((30, 40)), rng.permutation(np.arange(30) % 2)
    train, k = np.arange(3, 18), 5
    got = attempt(function, x, y, train, k)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    got = np.sort(np.asarray(got))
    right = _farthest_apart(x[train], y[train], k)
    shown = x.copy()
    shown[np.setdiff1d(np.arange(30), train)] += 10 * rng.standard_normal((15, 40))
    mistakes = {
        "you looked at the test rows too: choose with x[train] and y[train]": _farthest_apart(x, y, k),
        "you took the test rows instead of the training rows": _farthest_apart(
            np.delete(x, train, axis=0), np.delete(y, train), k
        ),
        "you kept the features that differ least": _farthest_apart(x[train], y[train], k, least=True),
        "you forgot the absolute value: class 1 may also lie below class 0": _farthest_apart(
            x[train], y[train], k, signed=True
        ),
        "y must be cut to the training rows as x is, or the labels belong to other rows": _farthest_apart(
            x[train], y[: len(train)], k
        ),
    }
    said = diagnose(got, right, mistakes, name="the list of features")
    if said.startswith("the list of features is off"):
        said = "these are not the features whose two class means, over the training rows, lie farthest apart"
    if said == "correct" and not np.array_equal(np.sort(attempt(function, shown, y, train, k)), right):
        said = "your choice changes when only the test rows change: something still looks at them"
    print(said)


def _farthest_apart(
    x: np.ndarray, y: np.ndarray, k: int, *, least: bool = False, signed: bool = False
) -> np.ndarray:
    gap = x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0)
    order = np.argsort(gap if signed else np.abs(gap))
    return np.sort(order[:k] if least else order[-k:])
