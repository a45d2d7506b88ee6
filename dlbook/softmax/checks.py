"""Checks for the exercises of the softmax chapter; each prints one line about the reader's function."""

from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp, softmax

from dlbook.checks import NOT_ATTEMPTED, attempt, diagnose

LOGITS = np.array([[5.0, 2.0, -1.0, 3.0], [1.0, 1.5, 0.0, -2.0], [0.5, -3.0, 2.0, 4.0]])
STREAM = np.array([3.0, 1.0, 4.0, 1.0, 5.0, -2.0])
NOTHING_LEFT = "nothing was left to sum: a stream can be read only once"


def soften(function: Callable) -> None:
    """Exercise 1: `function(z, temperature)` is softmax over the last axis of z (batch, classes)."""
    T = 2.5
    got = attempt(function, LOGITS, T)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    p = softmax(LOGITS, axis=-1)
    mistakes = {
        "you ignore the temperature": p,
        "you multiply by the temperature: a high one must flatten, so divide": softmax(LOGITS * T, axis=-1),
        "you divide the probabilities: the temperature belongs to the logits, before the exponential": p / T,
        "you sum over the batch: the classes lie along the last axis": softmax(LOGITS / T, axis=0),
        "you divide by one sum for the whole batch: each row has its own": softmax(LOGITS / T, axis=None),
        "you forgot to divide by the sum": np.exp(LOGITS / T),
        "you forgot to divide by the sum, after the shift": np.exp(
            (LOGITS - LOGITS.max(-1, keepdims=True)) / T
        ),
    }
    said = diagnose(got, softmax(LOGITS / T, axis=-1), mistakes, name="the probabilities")
    if said == "correct":
        said = _survives(function)
    print(said)


def _survives(function: Callable) -> str:
    """The second half of exercise 1: logits whose exponentials overflow."""
    with np.errstate(all="ignore"):
        got = attempt(function, 1000 * LOGITS, 2.5)
    right = softmax(1000 * LOGITS / 2.5, axis=-1)
    said = diagnose(got, right, {}, name="for logits up to 5000, your result")
    return said if said == "correct" else f"{said}: subtract each row's largest logit first"


def one_pass(function: Callable) -> None:
    """Exercise 2: `function(stream)` is the log-sum-exp of numbers that can be read once."""
    results = []
    try:
        with np.errstate(all="ignore"):
            for values in (STREAM, STREAM - 2000, STREAM[:1]):
                results.append(attempt(function, iter(values.tolist())))
    except TypeError as error:
        print(f"the numbers come as a stream: loop over it, once; no length, no index ({error})")
        return
    except (OverflowError, ValueError) as error:
        # math.log(0), where np.log(0) is -inf: of numbers this small nothing underflows, so nothing was summed
        again = not results and "domain" in str(error)
        hint = NOTHING_LEFT if again else "keep the largest number seen and sum exp(z - largest)"
        print(f"your function fails with {error!r}: {hint}")
        return
    if results[0] is None:
        print(NOT_ATTEMPTED)
        return
    for got, values in zip(results, (STREAM, STREAM - 2000, STREAM[:1]), strict=True):
        said = diagnose(got, logsumexp(values), _one_pass_mistakes(values), name=_stream_name(values))
        if said != "correct":
            break
    print(said)


def _stream_name(values: np.ndarray) -> str:
    if len(values) == 1:
        return "for a single number, your result"
    return "for numbers near -2000, your result" if values[0] < -1000 else "your result"


def _one_pass_mistakes(values: np.ndarray) -> dict[str, float]:
    """What each known mistake gives for the stream `values`."""
    with np.errstate(all="ignore"):
        naive = np.log(np.sum(np.exp(values)))
        return {
            "you forgot the logarithm": np.exp(logsumexp(values)),
            "you forgot to add the largest number back": logsumexp(values) - values.max(),
            "that is the largest number alone": values.max(),
            "the sum must be rescaled when a larger number arrives": _run(values, lambda old, new: 1.0),
            "your rescaling is upside down: multiply the sum by exp(old - new)": _run(
                values, lambda old, new: np.exp(new - old)
            ),
            "exp under- or overflows: keep the largest number seen, and start it at minus infinity": naive,
            NOTHING_LEFT: -np.inf,
        }


def _run(values: np.ndarray, factor: Callable[[float, float], float]) -> float:
    """The one-pass sum with `factor(old, new)` in place of the right rescaling."""
    largest, total = values[0], 1.0
    for z in values[1:]:
        if z > largest:
            total, largest = total * factor(largest, z), z
        total += np.exp(z - largest)
    return float(largest + np.log(total))


def tied_penalty(function: Callable) -> None:
    """Exercise 3: `function(V)` is the penalty on V (features, C - 1) that equals L2 on all C classes."""
    V = np.array([[1.0, -2.0, 0.5], [0.3, 0.7, -1.1]])
    got = attempt(function, V)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    classes, square, total = V.shape[1] + 1, np.sum(V**2), np.square(V.sum(axis=1)).sum()
    mistakes = {
        "that is plain L2 on V: it treats the tied class differently from the others": square,
        "you divide by C - 1, the columns of V; the tied class counts too": square - total / (classes - 1),
        "your shift is the sum of the columns; the best one is their mean over all C": square
        - 2 * total
        + classes * total,
        "you forgot the tied class itself, whose weights are the shift": square
        - 2 * total / classes
        + (classes - 1) * total / classes**2,
        "the sign of the second term is wrong: the best shift makes the penalty smaller": square
        + total / classes,
        "square the sum over the classes feature by feature, then add up": square - V.sum() ** 2 / classes,
        "you halved it: compare sums of squares, without the 1/2": (square - total / classes) / 2,
    }
    print(diagnose(got, square - total / classes, mistakes, name="the penalty"))
