"""Checks for the exercises of the chapter on the tuning process; each prints one line about the reader's function."""

from collections.abc import Callable

import numpy as np

from dlbook.checks import NOT_ATTEMPTED, attempt, diagnose


def trials(function: Callable) -> None:
    """Exercise 1: `function(chance, top)` is how many random trials hit the best share `top` with that chance."""
    for chance, top in ((0.2, 0.6), (0.95, 0.05), (0.9, 0.01), (0.5, 0.5)):
        got = attempt(function, chance, top)
        if got is None:
            print(NOT_ATTEMPTED)
            return
        exact = np.log(1 - chance) / np.log(1 - top)
        right = np.ceil(exact - 1e-9)
        mistakes = {
            "you did not round up to whole trials": exact,
            "you rounded down, or to the nearest: with one trial fewer the chance is too small": np.floor(
                exact
            ),
            "that is how long one waits on average, 1 / top": 1 / top,
            "you added up the chances, chance / top: searches that hit twice are counted twice": chance / top,
            "you added up the chances, chance / top: searches that hit twice are counted twice, then rounded up": (
                np.ceil(chance / top)
            ),
            "you swapped the two: the trials miss with 1 - top each, and all together with 1 - chance": np.ceil(
                np.log(1 - top) / np.log(1 - chance)
            ),
            "use 1 - chance and 1 - top: it is missing that multiplies": np.ceil(
                np.log(chance) / np.log(top)
            ),
        }
        said = diagnose(got, right, mistakes, name="the number of trials", rtol=1e-9)
        if said != "correct":
            break
    print(said)


def box(function: Callable) -> None:
    """Exercise 2: `function(points, losses, keep, shrink)` is the low corner of the box around the best `keep`."""
    rng = np.random.default_rng(0)
    for at_edge in (False, True):
        points = rng.random((12, 3)) * 0.2 + 0.4
        losses = rng.random(12)
        best = np.argsort(losses)[:3]
        points[best, 0] = 0.02 if at_edge else 0.5
        points[best, 1] = 0.99 if at_edge else 0.45
        diverged = losses.copy()
        diverged[[k for k in range(12) if k not in best][:2]] = np.nan
        for given in (losses, diverged):
            got = attempt(function, points, given, 3, 0.25)
            if got is None:
                print(NOT_ATTEMPTED)
                return
            said = _box(got, points, given, 3, 0.25)
            if said != "correct":
                print(said)
                return
    print(said)


def _box(got: np.ndarray, points: np.ndarray, losses: np.ndarray, keep: int, shrink: float) -> str:
    order = np.argsort(losses)  # NaN last
    centre = points[order[:keep]].mean(axis=0)
    right = np.clip(centre - shrink / 2, 0, 1 - shrink)
    worst = points[np.argsort(-losses)[:keep]].mean(axis=0)
    with_nan = points[np.argsort(np.where(np.isnan(losses), -1, losses))[:keep]].mean(axis=0)
    mistakes = {
        "the box sticks out of the cube: push it back inside, between 0 and 1 - shrink": centre - shrink / 2,
        "at the high end the box sticks out: the low corner is at most 1 - shrink": np.clip(
            centre - shrink / 2, 0, 1
        ),
        "that is the centre of the box: its low corner is half a side below": centre,
        "that is the centre of the box, pushed inside: its low corner is half a side below": np.clip(
            centre, 0, 1 - shrink
        ),
        "shrink is the whole side, not half of it: go half a side down from the centre": np.clip(
            centre - shrink, 0, 1 - shrink
        ),
        "you kept the worst trials": np.clip(worst - shrink / 2, 0, 1 - shrink),
        "you centred the box on the best trial alone: take the mean of the best `keep`": np.clip(
            points[order[0]] - shrink / 2, 0, 1 - shrink
        ),
        "you centred the box on all trials: take the mean of the best `keep`": np.clip(
            points.mean(axis=0) - shrink / 2, 0, 1 - shrink
        ),
        "a diverged trial, whose loss is NaN, counts as good": np.clip(with_nan - shrink / 2, 0, 1 - shrink),
    }
    said = diagnose(got, right, mistakes, name="the low corner")
    if "NaN where" in said:
        said = "NaN losses have crept into the corner: leave diverged trials out"
    return said


def isolate(function: Callable) -> None:
    """Exercise 3: `function(values, losses)` maps each value of one knob to the smallest loss that it had."""
    values = np.array([32, 128, 32, 64, 128, 64, 16, 32, 16])
    losses = np.array([0.4, 0.3, 0.2, np.nan, 0.5, 0.6, np.nan, 0.35, np.nan])
    got = attempt(function, values, losses)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    if not isinstance(got, dict):
        print(f"return a dictionary from value to loss, got {type(got).__name__}")
        return
    if sorted(got) != [16, 32, 64, 128]:
        missing = sorted({16, 32, 64, 128} - set(got))
        print(
            "16 has only diverged trials: give it NaN, or the figure hides that it was tried"
            if missing == [16]
            else f"the keys must be the values that were tried, 16, 32, 64 and 128, got {sorted(got)}"
        )
        return
    parts = [losses[values == value] for value in (16, 32, 64, 128)]
    fit = [part[~np.isnan(part)] for part in parts]
    mistakes = {
        "that is the mean over the other knobs: the others are nuisance, so take the best": _each(
            np.mean, fit
        ),
        "that is the median over the other knobs: the others are nuisance, so take the best": _each(
            np.median, fit
        ),
        "that is the largest loss of each part: take the smallest": _each(np.max, fit),
        "that is the last loss of each part: take the smallest": np.array([part[-1] for part in parts]),
        "one diverged trial makes its whole part NaN: take the smallest of the others": np.array(
            [part.min() for part in parts]
        ),
    }
    print(
        diagnose([got[value] for value in (16, 32, 64, 128)], _each(np.min, fit), mistakes, name="the losses")
    )


def _each(function: Callable, parts: list[np.ndarray]) -> np.ndarray:
    return np.array([function(part) if part.size else np.nan for part in parts])
