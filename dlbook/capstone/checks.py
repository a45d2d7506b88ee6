"""Checks for the exercises of the capstone; each prints one line about the reader's function."""

from collections.abc import Callable

import numpy as np

from dlbook.checks import NOT_ATTEMPTED, attempt, diagnose


def letters(function: Callable) -> None:
    """Exercise 1: `function(target, level)` is how many right answers in a row promise at most `target` wrong."""
    for target, level in ((0.8, 0.3), (0.02, 0.95), (0.01, 0.95), (0.1, 0.99)):
        got = attempt(function, target, level)
        if got is None:
            print(NOT_ATTEMPTED)
            return
        exact = np.log(1 - level) / np.log(1 - target)
        mistakes = {
            "that is the rule of three, an approximation for 95 % and small targets: solve the equation": 3
            / target,
            "that is the rule of three, rounded up: solve the equation": np.ceil(3 / target),
            "you did not round up to whole letters": exact,
            "you rounded down: with one letter fewer the bound is above the target": np.floor(exact),
            "you swapped level and target": np.ceil(np.log(1 - target) / np.log(1 - level)),
            "use 1 - level and 1 - target: it is being right that multiplies": np.ceil(
                np.log(level) / np.log(target)
            ),
        }
        said = diagnose(got, np.ceil(exact - 1e-9), mistakes, name="the number of letters", rtol=1e-9)
        if said != "correct":
            break
    print(said)


def optimism(function: Callable) -> None:
    """Exercise 2: `function(searched, fresh)` is how much better the search's best looked than it is."""
    rng = np.random.default_rng(0)
    searched = np.array([0.061, 0.036, 0.055, 0.080])
    fresh = 0.07 + 0.02 * rng.random((4, 6))
    got = attempt(function, searched, fresh)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    mean, best = fresh.mean(axis=1), searched.argmin()
    mistakes = {
        "the sign is wrong: optimism is positive when the fresh losses are larger": searched[best]
        - mean[best],
        "you took the best of the fresh means, which chose itself by luck as well": mean.min()
        - searched.min(),
        "that is the mean over all finalists; the question is about the one that looked best": (
            mean - searched
        ).mean(),
        "you compare with the best single seed: take the mean over the seeds": fresh[best].min()
        - searched[best],
        "that is the fresh loss alone: subtract what the search saw": mean[best],
        "you took the trial with the largest loss": mean[searched.argmax()] - searched.max(),
    }
    print(diagnose(got, mean[best] - searched[best], mistakes, name="the optimism"))


def answer(function: Callable) -> None:
    """Exercise 3: `function(p, clerk, error)` says which digits the machine answers, by what both cost."""
    top = np.array([0.999, 0.97, 0.94, 0.9, 0.6, 0.35, 0.95])
    p = np.column_stack([(1 - top) / 3] * 3 + [top])[:, [1, 3, 0, 2]]
    for clerk, error in ((1.0, 20.0), (1.0, 4.0), (3.0, 6.0)):
        got = attempt(function, p, clerk, error)
        if got is None:
            print(NOT_ATTEMPTED)
            return
        got = np.asarray(got)
        if got.dtype != bool:
            print(f"return True or False for each digit, got {got.dtype}")
            return
        right = (1 - top) * error <= clerk
        mistakes = {
            "you answer where a mistake is expected to cost MORE than the clerk": ~right,
            "you compare the confidence with clerk / error; a mistake has the chance 1 - confidence": (
                top <= clerk / error
            ),
            "that compares the confidence with the price ratio: a mistake has the chance 1 - confidence": (
                top >= clerk / error
            ),
        }
        wrong = {said: np.asarray(value, float) for said, value in mistakes.items()}
        said = diagnose(got.astype(float), right.astype(float), wrong, name="the answers")
        if said != "correct":
            break
    print(said)
