"""The experiments of the chapter on TensorFlow: settings in, plain arrays out. Nothing here is random."""

from collections.abc import Callable, Sequence

import numpy as np

PARABOLA = (1.0, -10.0, 25.0)  # w² − 10 w + 25, the lecture's


def descend(
    learning_rate: float, steps: int, *, coefficients: Sequence[float] = PARABOLA, dtype="float64"
) -> np.ndarray:
    """Gradient descent from 0 on `a w² + b w + c`, every number kept in `dtype`: w after 0 to `steps` steps."""
    kind = np.dtype(dtype).type
    a, b, _ = map(kind, coefficients)
    rate, w = kind(learning_rate), kind(0)
    path = [w]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            w = kind(w - rate * (kind(2) * a * w + b))
            path.append(w)
    return np.array(path)


def closed_form(learning_rate: float, t) -> np.ndarray:
    """w after `t` steps on the parabola, exactly: 5 (1 − (1 − 2 α)ᵗ)."""
    return 5 * (1 - (1 - 2 * learning_rate) ** np.asarray(t, dtype="float64"))


def stalls_at(path: np.ndarray) -> int | None:
    """The first step after which `path` never moves again; None where it still moves at its end."""
    moved = np.flatnonzero(np.diff(path) != 0)
    last = int(moved[-1]) + 1 if len(moved) else 0
    return None if last == len(path) - 1 else last


def update_and_spacing(path: np.ndarray, learning_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """How large a step `path` wants to take at each point, and half the gap to the next number of its dtype."""
    wanted = np.abs(learning_rate * (2 * path.astype("float64") - 10))
    return wanted, np.spacing(path).astype("float64") / 2


def accumulated(learning_rate: float, steps: int) -> np.ndarray:
    """The descent of a loop that forgets to clear its gradients, so that each step uses the sum of all so far."""
    w, total, path = 0.0, 0.0, [0.0]
    for _ in range(steps):
        total += 2 * w - 10
        w -= learning_rate * total
        path.append(w)
    return np.array(path)


def bowl_descent(curvatures: Sequence[float], learning_rate: float, steps: int) -> np.ndarray:
    """Gradient descent from ones on `½ Σ c w²`, one curvature a direction: the paths, (steps + 1, directions)."""
    shrink = 1 - learning_rate * np.asarray(curvatures, dtype="float64")
    return shrink ** np.arange(steps + 1)[:, None]


def count_traces(compile_function: Callable, arguments: Sequence) -> list[int]:
    """How often Python runs the body of a compiled function: the count after each call with one of `arguments`.

    `compile_function` is `tf.function` or the like. The counter is plain Python, so it sees tracing and not running.
    """
    count = 0

    def body(x):
        nonlocal count
        count += 1
        return x * 2

    compiled, seen = compile_function(body), []
    for argument in arguments:
        compiled(argument)
        seen.append(count)
    return seen
