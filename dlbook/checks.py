"""What a reader's own answer to an exercise is tested with.

A check runs the reader's function on small inputs and says in words what is wrong. It knows the common
mistakes: it computes what each of them would give, and names the one that the reader's numbers match.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dlbook.frameworks import to_numpy

NOT_ATTEMPTED = "not attempted yet"


def attempt(function: Callable, *arguments: Any) -> Any:
    """The reader's result; None while the stub returns None or `...`, or raises NotImplementedError."""
    try:
        result = function(*(np.copy(a) if isinstance(a, np.ndarray) else a for a in arguments))
    except NotImplementedError:
        return None
    return None if result is Ellipsis else result


def diagnose(
    got: Any, right: Any, mistakes: Mapping[str, Any], *, name: str = "your result", rtol: float = 1e-6
) -> str:
    """What to say about `got`: "correct", the mistake whose numbers it matches, or the largest difference.

    `mistakes` maps a sentence ("your variance divides by m - 1") to what that mistake would have given.
    """
    try:
        got, right = to_numpy(got), np.asarray(right)
    except ValueError:
        return f"{name} must be an array, got rows of different lengths"
    if got.dtype.kind not in "fiu":
        return f"{name} must be numbers, got {got.dtype}"
    if got.shape != right.shape:
        return f"{name} must have shape {right.shape}, got {got.shape}"
    if _close(got, right, rtol):
        return "correct"
    for sentence, wrong in mistakes.items():
        if np.shape(wrong) == got.shape and _close(got, np.asarray(wrong), rtol):
            return sentence
    missing = np.isnan(got) != np.isnan(right)
    if missing.any():
        what = "NaN where a number" if np.isnan(got[missing]).any() else "a number where NaN"
        return f"{name} holds {what} belongs"
    with np.errstate(invalid="ignore"):  # infinity where infinity belongs
        off = np.abs(got.astype("float64") - right)
    return f"{name} is off by up to {np.nanmax(off):.2g}"


def _close(got: np.ndarray, right: np.ndarray, rtol: float) -> bool:
    scale = np.max(np.abs(right), initial=1e-300, where=np.isfinite(right))
    return bool(np.allclose(got, right, rtol=rtol, atol=rtol * scale, equal_nan=True))
