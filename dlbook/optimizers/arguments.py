"""The argument checks that the three frameworks share."""

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np

from dlbook.frameworks import to_numpy
from dlbook.shapes import shape_of

Hyper = float | np.ndarray


def learning_rate(value: Any) -> Hyper:
    """The learning rate, in [0, infinity)."""
    return _hyper("learning_rate", value, lambda a: (a >= 0) & np.isfinite(a), "be finite and at least 0")


def beta(name: str, value: Any) -> Hyper:
    """The weight that an average keeps, in [0, 1)."""
    return _hyper(name, value, lambda a: (a >= 0) & (a < 1), "lie in [0, 1)")


def eps(value: Any) -> Hyper:
    """The number that keeps a quotient finite, above 0."""
    return _hyper("eps", value, lambda a: (a > 0) & np.isfinite(a), "be finite and above 0")


def check_step(params: dict, grads: dict, *hypers: Hyper) -> None:
    """A gradient of the right shape for each parameter, and hyperparameters that fit them all."""
    if params.keys() != grads.keys():
        raise ValueError(f"grads must have the names of params, {sorted(params)}, got {sorted(grads)}")
    for name, array in params.items():
        shape = shape_of(array)
        if shape_of(grads[name]) != shape:
            raise ValueError(f"grads[{name!r}] must have shape {shape}, got {shape_of(grads[name])}")
        for hyper in hypers:
            if not isinstance(hyper, float):
                _check_fits(hyper.shape, name, shape)


def corrections(beta1: Hyper, beta2: Hyper, t: int) -> tuple[Hyper, Hyper]:
    """Adam's `1 - beta1**t` and `sqrt(1 - beta2**t)`."""
    return _each(lambda beta: 1 - beta**t, beta1), _each(lambda beta: sqrt(1 - beta**t), beta2)


def _each(function: Callable[[float], float], hyper: Hyper) -> Hyper:
    """Number by number in Python: NumPy's power of an array may differ from that of a number in the last bit."""
    if isinstance(hyper, float):
        return function(hyper)
    return np.array([function(one) for one in hyper.ravel().tolist()]).reshape(hyper.shape)


def _hyper(name: str, value: Any, allowed, wanted: str) -> Hyper:
    array = to_numpy(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be a number or an array of numbers, got {type(value).__name__}")
    array = array.astype(np.float64)
    bad = array[~allowed(array)]
    if bad.size:
        raise ValueError(f"{name} must {wanted}, got {bad.flat[0]}")
    if array.ndim == 0:
        return float(array)
    if array.ndim < 3 or array.shape[-2:] != (1, 1):
        raise ValueError(
            f"{name} must be a number, or one per model with shape (K, 1, 1), got shape {array.shape}: "
            f"try {name}.reshape(-1, 1, 1)"
        )
    return array


def _check_fits(hyper: tuple[int, ...], name: str, shape: tuple) -> None:
    tail = shape[len(shape) - len(hyper) :]
    fits = len(hyper) <= len(shape) and all(
        n in (1, m) or m is None for n, m in zip(hyper, tail, strict=True)
    )
    if not fits:
        raise ValueError(f"a hyperparameter of shape {hyper} does not fit params[{name!r}] of shape {shape}")
