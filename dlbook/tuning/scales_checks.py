"""Checks for the exercises of the chapter on scales; each prints one line about the reader's function."""

from collections.abc import Callable

import numpy as np

from dlbook.checks import NOT_ATTEMPTED, attempt, diagnose

U = np.linspace(0.05, 0.95, 7)


def sample_beta(function: Callable) -> None:
    """Exercise 1: `function(u)` turns numbers u in [0, 1) into betas from 0.9 to 0.999, evenly in log(1 - beta)."""
    got = attempt(function, U)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    right = 1 - 10 ** (-1 - 2 * U)
    mistakes = {
        "that is linear: half of your betas lie below 0.95": 0.9 + U * (0.999 - 0.9),
        "that is the log of beta, which is nearly linear here: take the log of 1 - beta": 0.9
        * (0.999 / 0.9) ** U,
        "you return 1 - beta": 1 - right,
        "your u runs backwards: u = 0 should give 0.9": 1 - 10 ** (-3 + 2 * U),
        "your exponents run from -1 to -2; 0.999 is 1 - 10**-3": 1 - 10 ** (-1 - U),
        "natural exponents: exp where 10** belongs": 1 - np.exp(-1 - 2 * U),
    }
    print(diagnose(got, right, mistakes, name="the betas"))


def same_step(function: Callable) -> None:
    """Exercise 2: `function(lr, beta, new_beta)` is the rate that keeps the step of v = beta v + g, w = w - lr v."""
    lr, beta, new = np.array([0.1, 0.01, 0.5]), np.array([0.9, 0.99, 0.0]), np.array([0.99, 0.9, 0.9])
    got = attempt(function, lr, beta, new)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    right = lr * (1 - new) / (1 - beta)
    mistakes = {
        "upside down: a larger beta makes the step larger, so the rate must shrink": lr
        * (1 - beta)
        / (1 - new),
        "that is right for v = beta v + (1 - beta) g, where nothing has to change": lr,
        "the ratio of the betas is not the ratio of the windows: use 1 - beta": lr * new / beta.clip(1e-9),
        "you forgot the old beta: divide by 1 - beta": lr * (1 - new),
    }
    print(diagnose(got, right, mistakes, name="the rates"))


def fair_integer(function: Callable) -> None:
    """Exercise 3: `function(u, low, high)` turns u in [0, 1) into whole numbers, each equally often."""
    u = (np.arange(6000) + 0.5) / 6000
    got = attempt(function, u, 1, 3)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    got = np.asarray(got)
    if got.shape != u.shape:
        print(f"your result must have shape {u.shape}, got {got.shape}")
        return
    if not np.array_equal(got, np.round(got)):
        print("your result must hold whole numbers")
        return
    if got.min() < 1 or got.max() > 3:
        print(f"your numbers run from {got.min():g} to {got.max():g}; 1 and 3 are the ends")
        return
    shares = np.array([np.mean(got == k) for k in (1, 2, 3)])
    mistakes = {
        "rounding gives each end half its share: an end is rounded to from one side only": [0.25, 0.5, 0.25],
        "the upper end never comes up: there are high - low + 1 values": [0.5, 0.5, 0.0],
        "the lower end never comes up": [0.0, 0.5, 0.5],
    }
    print(diagnose(shares, np.full(3, 1 / 3), mistakes, name="the share of each value", rtol=1e-3))
