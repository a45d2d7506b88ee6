"""Checks for the exercises of the chapter on TensorFlow; each prints one line about the reader's function."""

from collections.abc import Callable

import numpy as np

from dlbook.checks import NOT_ATTEMPTED, attempt, diagnose
from dlbook.tensorflow_then_and_now.autodiff import Value


def division(function: Callable) -> None:
    """Exercise 1: `function(a, b)` is the `Value` a / b, whose slopes reach both a and b."""
    a, b = Value(3.0), Value(4.0)
    got = attempt(function, a, b)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    if not isinstance(got, Value):
        print(f"return a Value, got {type(got).__name__}")
        return
    said = diagnose(got.data, 0.75, {"you divided the wrong way round": 4 / 3}, name="the quotient")
    if said == "correct":
        (got * 1.0).backward()
        mistakes = {
            "no slope reaches a and b: make the result from them, not from their data": [0.0, 0.0],
            "the slope in b is missing: b is an input too": [1 / 4, 0.0],
            "the slope in b is negative: a larger b makes the quotient smaller": [1 / 4, 3 / 16],
            "the slope in b forgets a: it is -a / b²": [1 / 4, -1 / 16],
            "the slope in b has b where b² belongs": [1 / 4, -3 / 4],
        }
        said = diagnose([a.grad, b.grad], [1 / 4, -3 / 16], mistakes, name="the pair of slopes")
    print(said)


def resting_place(function: Callable) -> None:
    """Exercise 2: `function(learning_rate)` is the |w - 5| within which a float32 step is rounded away."""
    rates = np.array([0.1, 0.01, 0.001])
    got = attempt(lambda rate: [function(float(r)) for r in rate], rates)
    if got is None or any(one is None or one is Ellipsis for one in got):
        print(NOT_ATTEMPTED)
        return
    right = 2.0**-21 / 2 / (2 * rates)
    mistakes = {
        "twice too far: a step is lost below HALF the gap, and the slope of J is 2 (w - 5)": 2 * right,
        "your gap is that of numbers near 1; between 4 and 8 it is four times as wide": right / 4,
        "your gap is that of numbers in [2, 4); 5 lies in [4, 8)": right / 2,
        "multiplied by the rate: the smaller the rate, the further away it stops, so divide": 2.0**-21
        / 2
        * 2
        * rates,
        "that is the size of the lost step; the distance is that over 2 α": np.full(3, 2.0**-22),
    }
    print(diagnose(got, right, mistakes, name="the distance"))


def best_rate(function: Callable) -> None:
    """Exercise 3: `function(small, large)` is the learning rate, and the factor a step, that suit both curvatures."""
    small, large = 1.0, 10.0
    got = attempt(function, small, large)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    right = [2 / (small + large), (large - small) / (large + small)]
    mistakes = {
        "that rate is the largest that is safe for the steep direction, and slow in the flat one": [
            1 / large,
            1 - small / large,
        ],
        "at that rate the steep direction only just fails to converge": [2 / large, 1.0],
        "the rate suits the flat direction and makes the steep one diverge": [1 / small, large / small - 1],
        "the rate is right; the factor is the common value of |1 - rate × curvature|": [
            right[0],
            1 - right[1],
        ],
    }
    print(diagnose(got, right, mistakes, name="the pair (rate, factor)"))
