"""Checks for the exercises of the chapter on pandas and caviar; each prints one line about the reader's function."""

from collections.abc import Callable

import numpy as np

from dlbook.checks import NOT_ATTEMPTED, attempt, diagnose

EMPTY = -1  # stands for a place that nobody takes, so that rows of different lengths can be compared


def survivors(function: Callable) -> None:
    """Exercise 1: `function(losses, eta)` is who goes on from a rung, the best first."""
    plain = np.array([0.9, 0.3, 0.8, 0.5, 0.7, 0.2, 0.6])
    diverged, few = np.array([0.9, np.nan, 0.2, np.inf, 0.5, 0.4, 0.3]), np.array([0.4, 0.1])
    hopeless = np.array([np.nan, np.nan, 0.3, np.nan, np.nan, np.nan])
    for losses, eta in ((plain, 3), (diverged, 3), (few, 3), (hopeless, 2)):
        got = attempt(function, losses, eta)
        if got is None:
            print(NOT_ATTEMPTED)
            return
        order = [k for k in np.argsort(losses) if np.isfinite(losses[k])]
        count, size = max(len(losses) // eta, 1), len(losses)
        nan_first = np.argsort(np.where(np.isnan(losses), -np.inf, losses), kind="stable")
        mistakes = {
            "you kept the worst: a small loss is good": _row(order[::-1][:count], size),
            "you rounded up: a rung of m trials promotes m // eta": _row(order[: -(-size // eta)], size),
            "nobody goes on: keep at least one": _row([], size),
            "a trial that diverged goes on: NaN is not small": _row(nan_first[:count], size),
            "places that nobody deserves stay empty: you promoted a diverged trial to fill them": _row(
                np.argsort(losses)[:count], size
            ),
            "those are the right trials in another order: the best first": _row(sorted(order[:count]), size),
            "you return the losses: return the numbers of the trials": _row(losses[order[:count]], size),
        }
        said = diagnose(_row(got, size), _row(order[:count], size), mistakes, name="who goes on")
        if said != "correct":
            break
    print(said)


def promotable(function: Callable) -> None:
    """Exercise 2: `function(losses, promoted, eta)` is the trial that ASHA promotes from a rung now, or None."""
    losses = np.array([0.62, 0.35, 0.80, 0.41, 0.29, 0.55, 0.73, 0.33, 0.90])
    started = np.zeros(9, bool)
    went = started.copy()
    went[[1, 4]] = True
    all_went = went.copy()
    all_went[7] = True
    for m, promoted in ((9, started), (9, went), (9, all_went), (4, went), (2, started), (5, went)):
        answer = attempt(lambda *a: (function(*a),), losses[:m], promoted[:m], 3)
        if answer is None or answer[0] is Ellipsis:
            print(NOT_ATTEMPTED)
            return
        got = EMPTY if answer[0] is None else answer[0]
        order, free = np.argsort(losses[:m]), np.flatnonzero(~promoted[:m])
        top = [k for k in order[: m // 3] if not promoted[k]]
        free_first = [k for k in order if not promoted[k]]
        mistakes = {
            "that trial has been promoted already": order[0],
            "you rounded up: the best m // eta of m may go": (
                next((k for k in order[: -(-m // 3)] if not promoted[k]), EMPTY)
            ),
            "a place among the best 1/eta counts those who have gone: you looked for the best of the others": (
                free[losses[free].argmin()]
            ),
            "you promoted the worst of those who may go: the best goes first": top[-1] if top else EMPTY,
            "somebody may go: a trial among the best m // eta that has not been promoted": EMPTY,
            "that trial is not among the best m // eta": free_first[-1],
        }
        said = diagnose(got, top[0] if top else EMPTY, mistakes, name="the trial")
        if said != "correct":
            break
    print(said)


def direction(function: Callable) -> None:
    """Exercise 3: `function(losses)` is -1, 0 or 1, from losses (3, seeds) at 1/3, 1 and 3 times the rate."""
    cases = {
        "the middle is best: stay": ([[0.5, 0.6], [0.3, 0.2], [0.4, 0.5]], 0),
        "the smaller rate is best: -1": ([[0.1, 0.2], [0.3, 0.2], [2.3, 2.3]], -1),
        "the larger rate is best: 1": ([[2.0, 2.1], [1.0, 1.2], [0.4, 0.5]], 1),
        "one seed diverged at the larger rate: that rate is no good": (
            [[0.5, 0.6], [0.4, 0.3], [0.1, np.nan]],
            0,
        ),
        "both seeds diverged at the old rate: the smaller one is best": (
            [[0.5, 0.6], [np.nan, np.nan], [3.0, 2.9]],
            -1,
        ),
        "no rate works: stay, and look for something else": ([[np.nan] * 2, [np.nan] * 2, [np.nan] * 2], 0),
        "a draw: stay": ([[0.3, 0.3], [0.3, 0.3], [0.4, 0.4]], 0),
        "seeds are averaged: one lucky seed is not enough": ([[0.1, 0.9], [0.3, 0.3], [0.6, 0.6]], 0),
    }
    for sentence, (losses, right) in cases.items():
        got = attempt(function, np.array(losses))
        if got is None:
            print(NOT_ATTEMPTED)
            return
        said = diagnose(got, right, {}, name="the direction")
        if said != "correct":
            reached = np.shape(got) == () and np.asarray(got).dtype.kind in "fiu"
            print(f"{sentence}; you say {np.asarray(got).item():g}" if reached else said)
            return
    print(said)


def _row(trials, size: int) -> np.ndarray:
    """Trials and empty places, (size,)."""
    try:
        trials = np.asarray(list(trials), float)
    except (TypeError, ValueError):
        return np.full(0, np.nan)  # whose shape is wrong
    return np.concatenate([trials, np.full(max(size - len(trials), 0), EMPTY)])
