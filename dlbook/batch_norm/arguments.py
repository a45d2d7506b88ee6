"""The argument checks that the three frameworks share: they look at shapes and dtypes, never at values."""

from math import prod
from typing import Any

from dlbook.batch_norm import Running
from dlbook.shapes import (
    Axis,
    axes,
    check_floating,
    check_number,
    check_per_feature,
    shape_of,
    statistics_shape,
)

INFINITY = float("inf")


def check_train(
    x, gamma, beta, running: Running | None, axis: Axis, decay: float, eps: float
) -> tuple[int, ...]:
    """The averaged axes as non-negative numbers, once everything that `batch_norm_train` was given fits."""
    check_floating("x", x.dtype)
    check_number("decay", decay, 0, 1)
    check_number("eps", eps, 0, INFINITY, open_high=True)
    shape = shape_of(x)
    averaged = axes(axis, len(shape))
    wanted = statistics_shape(shape, averaged)
    if examples(shape, averaged) == 0:
        raise ValueError(
            f"x must hold at least one example to have a mean, got shape {shape}, averaged over {axis}"
        )
    check_per_feature("gamma", shape_of(gamma), wanted)
    _check_beta(gamma, beta)
    for name, array in _named(running):
        check_per_feature(name, shape_of(array), wanted)
        if prod(n or 1 for n in shape_of(array)) < prod(n or 1 for n in wanted):
            raise ValueError(
                f"{name} must have shape {wanted}, one value per model and feature, got {shape_of(array)}"
            )
    return averaged


def check_test(x, gamma, beta, running: Running, eps: float) -> None:
    """Everything that `batch_norm_test` was given must be one value per feature of `x`."""
    check_floating("x", x.dtype)
    check_number("eps", eps, 0, INFINITY, open_high=True)
    shape = shape_of(x)
    _check_beta(gamma, beta)
    for name, array in (("gamma", gamma), *_named(running)):
        got = shape_of(array)
        tail = shape[len(shape) - len(got) :]
        fits = len(tail) == len(got) and all(
            n in (1, m, None) or m is None for n, m in zip(got, tail, strict=True)
        )
        if not fits or (len(got) == 1 and got[0] != shape[-1]) or not got:
            raise ValueError(
                f"{name} must have one value per feature of x, whose shape is {shape}, got shape {got}"
            )


def check_backward(dy, x_hat) -> None:
    """The gradient in `y` has the shape of `y`."""
    if shape_of(dy) != shape_of(x_hat):
        raise ValueError(f"dy must have the shape of y, {shape_of(x_hat)}, got {shape_of(dy)}")


def check_fold(W, b, gamma, beta, running: Running, eps: float) -> None:
    """One value per output of `W` in everything that is folded into it."""
    check_number("eps", eps, 0, INFINITY, open_high=True)
    outputs = shape_of(W)[-1]
    for name, array in (("b", b), ("gamma", gamma), ("beta", beta), *_named(running)):
        if array is not None and shape_of(array)[-1:] != (outputs,):
            raise ValueError(
                f"{name} must have one value per output of W, {outputs}, got shape {shape_of(array)}"
            )


def examples(shape: tuple[int | None, ...], averaged: tuple[int, ...]) -> int | None:
    """How many values each mean is taken over; None when TensorFlow does not know yet."""
    lengths = [shape[a] for a in averaged]
    return None if None in lengths else prod(lengths)


def _check_beta(gamma, beta) -> None:
    if shape_of(beta) != shape_of(gamma):
        raise ValueError(f"beta must have the shape of gamma, {shape_of(gamma)}, got {shape_of(beta)}")


def _named(running: Running | None) -> tuple[tuple[str, Any], ...]:
    return () if running is None else (("running.mean", running.mean), ("running.var", running.var))
