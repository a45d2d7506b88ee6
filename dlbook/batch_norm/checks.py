"""Checks for the exercises of the batch norm chapter; each prints one line about the reader's function."""

from collections.abc import Callable
from typing import Any

import numpy as np

from dlbook.checks import NOT_ATTEMPTED, attempt, diagnose

EPS = 1e-2  # large enough that forgetting it shows


def undo(function: Callable) -> None:
    """Exercise 1: `function(x, eps)` returns the gamma and beta that make batch norm the identity on `x`."""
    x = _example()
    got = attempt(function, x, EPS)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    if not isinstance(got, tuple | list) or len(got) != 2:
        print("return two arrays: gamma, beta")
        return
    mean, var = x.mean(axis=0), x.var(axis=0)
    std = np.sqrt(var + EPS)
    mistakes = {
        "your gamma forgets eps: the layer divides by sqrt(var + eps), so undo exactly that": np.sqrt(var),
        "your gamma adds eps outside the root; the layer has it under the root": np.sqrt(var) + EPS,
        "your gamma is the variance; take the square root": var + EPS,
        "your gamma divides once more where it should multiply back": 1 / std,
        "your gamma uses the unbiased variance, m - 1; the layer divides by m": np.sqrt(
            x.var(axis=0, ddof=1) + EPS
        ),
        "your gamma and beta are swapped": mean,
    }
    said = diagnose(_per_feature(got[0]), std, mistakes, name="gamma", rtol=1e-9)
    if said == "correct":
        mistakes = {
            "your beta has the wrong sign: add back the mean that was taken away": -mean,
            "your beta is 0, so the mean stays lost": np.zeros_like(mean),
            "your beta is divided by the standard deviation; it is added last, so it is the mean itself": (
                mean / std
            ),
        }
        said = diagnose(_per_feature(got[1]), mean, mistakes, name="beta", rtol=1e-9)
    print(said)


def layer_norm(function: Callable) -> None:
    """Exercise 2: `function(x, gamma, beta, eps)` normalises each example over its own features."""
    x, gamma, beta = _example(), np.array([1.0, 2.0, 0.5]), np.array([0.0, 1.0, -1.0])
    got = attempt(function, x, gamma, beta, EPS)
    if got is None:
        print(NOT_ATTEMPTED)
        return

    def normalise(axis, ddof=0, std=lambda var: np.sqrt(var + EPS)):
        mean, var = x.mean(axis=axis, keepdims=True), x.var(axis=axis, ddof=ddof, keepdims=True)
        return (x - mean) / std(var)

    mistakes = {
        "that is batch norm: average over the features of one example, the last axis": (
            gamma * normalise(0) + beta
        ),
        "your variance divides by n - 1": gamma * normalise(1, ddof=1) + beta,
        "you forgot eps": gamma * normalise(1, std=np.sqrt) + beta,
        "your eps is outside the root": gamma * normalise(1, std=lambda var: np.sqrt(var) + EPS) + beta,
        "you divide by the variance; take the square root": (
            gamma * normalise(1, std=lambda var: var + EPS) + beta
        ),
        "you forgot gamma and beta": normalise(1),
        "you forgot beta": gamma * normalise(1),
        "you averaged over everything at once: each example has its own mean": (
            gamma * normalise(None) + beta
        ),
    }
    print(diagnose(got, gamma * normalise(1) + beta, mistakes))


def variance_only_backward(function: Callable) -> None:
    """Exercise 3: `function(dy, x, eps)` is the gradient of y = x / sqrt(var + eps) in x."""
    x = _example()
    dy = np.random.default_rng(1).normal(size=x.shape)
    got = attempt(function, dy, x, EPS)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    std, m = np.sqrt(x.var(axis=0) + EPS), len(x)
    centred, along = x - x.mean(axis=0), (dy * x).sum(axis=0)
    x_hat = centred / std
    mistakes = {
        "you treat the standard deviation as a constant; it moves with every x": dy / std,
        "the variance is measured around the mean: its slope in x is 2 (x - mean) / m": (
            dy / std - x * along / (m * std**3)
        ),
        "the 1/m of the variance is missing": dy / std - centred * along / std**3,
        "the second term has the wrong sign": dy / std + centred * along / (m * std**3),
        "the power of the standard deviation in the second term is 3": (
            dy / std - centred * along / (m * std**2)
        ),
        "the second term is twice too large: the root halves the slope of the variance": (
            dy / std - 2 * centred * along / (m * std**3)
        ),
        "that is the gradient of full batch norm; here the mean was not subtracted": (
            (dy - dy.mean(axis=0) - x_hat * (dy * x_hat).mean(axis=0)) / std
        ),
    }
    print(diagnose(got, dy / std - centred * along / (m * std**3), mistakes, name="the gradient"))


def _example() -> np.ndarray:
    return np.random.default_rng(0).normal([0.0, 3.0, -1.0], [1.0, 0.2, 5.0], size=(6, 3))


def _per_feature(a: Any) -> Any:
    """(1, features) is as good as (features,)."""
    return a[0] if getattr(a, "shape", ())[:1] == (1,) else a
