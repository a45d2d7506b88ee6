"""The argument checks that the three frameworks share: they look at shapes and dtypes, never at values."""

from collections.abc import Iterable
from math import prod
from numbers import Integral
from typing import Any

from dlbook.batch_norm import Running
from dlbook.shapes import (
    Axis,
    axes,
    check_floating,
    check_number,
    check_per_feature,
    check_same_library,
    fits,
    shape_of,
    statistics_shape,
)

INFINITY = float("inf")
Shape = tuple[int | None, ...]


def check_train(
    x, gamma, beta, running: Running | None, axis: Axis, decay: float, eps: float
) -> tuple[int, ...]:
    """The averaged axes as non-negative numbers, once everything that `batch_norm_train` was given fits."""
    shape = shape_of(x)
    check_floating("x", x.dtype)
    check_number("decay", decay, 0, 1)
    _check_eps(eps)
    averaged = axes(axis, len(shape))
    if examples(shape, averaged) == 0:
        raise ValueError(
            f"x must hold at least one example to have a mean, got shape {shape}, averaged over {axis}"
        )
    wanted = statistics_shape(shape, averaged)
    check_per_feature("gamma", shape_of(gamma, "gamma"), wanted)
    _check_same_shape("beta", beta, "gamma", gamma)
    check_same_library("x", x, ("gamma", gamma), ("beta", beta), *_named(running))
    for name, array in _named(running):
        _check_running(name, shape_of(array, name), wanted)
    return averaged


def check_test(x, gamma, beta, running: Running, eps: float) -> None:
    """Everything that `batch_norm_test` was given must be one value per feature of `x`."""
    shape = shape_of(x)
    check_floating("x", x.dtype)
    _check_eps(eps)
    for name, array in (("gamma", gamma), *_named(running)):
        _check_broadcasts(name, shape_of(array, name), shape)
    _check_same_shape("beta", beta, "gamma", gamma)
    _check_same_shape("running.var", running.var, "running.mean", running.mean)
    _check_same_features(shape_of(gamma), shape_of(running.mean))
    check_same_library("x", x, ("gamma", gamma), ("beta", beta), *_named(running))


def check_backward(dy, x_hat) -> None:
    """The gradient in `y` is floating point, as `x` was, and has the shape of `y`."""
    check_floating("dy", dy.dtype)
    if not fits(shape_of(dy, "dy"), shape_of(x_hat)):
        raise ValueError(f"dy must have the shape of y, {shape_of(x_hat)}, got {shape_of(dy)}")


def check_fold(W, b, gamma, beta, running: Running, eps: float) -> None:
    """`W` is (..., in, out), and everything that is folded into it has one value per output, as (..., 1, out)."""
    _check_eps(eps)
    shape = shape_of(W, "W")
    if len(shape) < 2:
        raise ValueError(f"W must have shape (..., in, out), got {shape}")
    check_floating("W", W.dtype)
    outputs = shape[-1]
    for name, array in (("b", b), ("gamma", gamma), ("beta", beta), *_named(running)):
        got = (outputs,) if array is None else shape_of(array, name)
        if got[-1:] != (outputs,) or got[-2:-1] not in ((), (1,)):
            raise ValueError(
                f"{name} must have one value per output of W, shape ({outputs},) or (..., 1, {outputs}), got {got}"
            )


def check_layer(features: int, decay: float, eps: float) -> None:
    """What the constructor of `BatchNorm` takes, so that a mistake shows before the first batch."""
    if not isinstance(features, Integral) or features < 1:
        raise ValueError(f"features must be a whole number of at least 1, got {features!r}")
    check_number("decay", decay, 0, 1)
    _check_eps(eps)


def check_repeatable(batches: Iterable[Any]) -> None:
    """`recompute` reads the data once for each layer, and a generator is empty the second time."""
    if iter(batches) is batches:
        raise TypeError(
            f"batches must be something that can be read more than once, such as a list or a data loader, "
            f"got {type(batches).__name__}: try list(batches)"
        )


def inputs(batch: Any) -> Any:
    """What a model takes of one batch: the first of a tuple or list such as (x, y), else the batch itself."""
    return batch[0] if isinstance(batch, tuple | list) else batch


def examples(shape: Shape, averaged: tuple[int, ...]) -> int | None:
    """How many values each mean is taken over; None when TensorFlow does not know yet."""
    lengths = [shape[a] for a in averaged]
    return None if None in lengths else prod(lengths)


def _check_eps(eps: float) -> None:
    check_number("eps", eps, 0, INFINITY, open_high=True)


def _check_same_shape(name: str, array, other_name: str, other) -> None:
    got, wanted = shape_of(array, name), shape_of(other)
    if not fits(got, wanted):
        raise ValueError(f"{name} must have the shape of {other_name}, {wanted}, got {got}")


def _check_running(name: str, got: Shape, wanted: Shape) -> None:
    """Like `gamma`, but not shared: models that share one running average would overwrite each other's."""
    check_per_feature(name, got, wanted)
    if any(n != 1 for n in wanted[: len(wanted) - len(got)]):
        raise ValueError(f"{name} must have shape {wanted}, one value per model and feature, got {got}")


def _check_broadcasts(name: str, got: Shape, shape: Shape) -> None:
    """Statistics of any `axis` broadcast against `x`; a single axis can only be the features, the last one."""
    tail = shape[len(shape) - len(got) :] if 0 < len(got) <= len(shape) else ()
    broadcasts = len(got) == len(tail) > 0 and all(
        n == 1 or fits((n,), (m,)) for n, m in zip(got, tail, strict=True)
    )
    if not broadcasts or (len(got) == 1 and not fits(got, tail)):
        raise ValueError(
            f"{name} must have one value per feature of x, whose shape is {shape}, got shape {got}"
        )


def _check_same_features(gamma: Shape, mean: Shape) -> None:
    """Where both have an axis they must agree on it: a `gamma` of (1, 1) is not stretched over 64 features."""
    n = min(len(gamma), len(mean))
    if not fits(gamma[-n:], mean[-n:]):
        raise ValueError(
            f"gamma must have as many features as running.mean, whose shape is {mean}, got {gamma}"
        )


def _named(running: Running | None) -> Iterable[tuple[str, Any]]:
    return () if running is None else (("running.mean", running.mean), ("running.var", running.var))
