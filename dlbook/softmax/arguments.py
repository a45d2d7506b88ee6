"""The argument checks that the three frameworks share: shapes and dtypes, and what to say about bad values."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from dlbook.shapes import axes, check_floating, check_number, check_same_library, dtype_name, fits, shape_of

REDUCTIONS = ("mean", "sum", "none")
Shape = tuple[int | None, ...]


def check_logits(z: Any, axis: int) -> int:
    """The class axis as a non-negative number, once `z` is floating point and has a class along it."""
    shape = shape_of(z, "z")
    check_floating("z", z.dtype)
    if not shape:
        raise ValueError("z must have an axis of classes, got a single number of shape ()")
    if not isinstance(axis, Integral):
        raise TypeError(f"axis must be one whole number, got {axis!r}")
    (found,) = axes(axis, len(shape))
    if shape[found] == 0:
        raise ValueError(f"z must have at least one class along axis {axis}, got shape {shape}")
    return found


def check_softmax(z: Any, axis: int, temperature: float) -> tuple[int, float]:
    """The class axis, and the temperature as a number that does not round to 0 or infinity in the dtype of `z`."""
    found = check_logits(z, axis)
    check_number("temperature", temperature, 0, float("inf"), open_low=True, open_high=True)
    limits = np.finfo("float64" if dtype_name(z.dtype) == "float64" else "float32")
    return found, min(max(float(temperature), float(limits.tiny)), float(limits.max))


def check_cross_entropy(
    z: Any,
    y: Any,
    axis: int,
    reduction: str,
    weight: Any | None,
    ignore_index: int | None,
    label_smoothing: float,
) -> int:
    """The class axis, once everything but the values of `y` and `weight` fits."""
    found = check_logits(z, axis)
    shape = shape_of(z)
    _check_targets(y, shape, found)
    check_same_library("z", z, ("y", y))
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    check_number("label_smoothing", label_smoothing, 0, 1)
    if weight is not None:
        got, wanted = shape_of(weight, "weight"), shape[found : found + 1]
        check_floating("weight", weight.dtype)
        check_same_library("z", z, ("weight", weight))
        if not fits(got, wanted):
            raise ValueError(f"weight must have one number per class, shape {wanted}, got {got}")
    if ignore_index is not None:
        _check_ignore_index(ignore_index, probabilities=len(shape_of(y)) == len(shape))
    return found


def check_label_range(lowest: int, highest: int, classes: int) -> None:
    """The labels that are not ignored name classes of `z`."""
    if lowest < 0 or highest >= classes:
        bad = lowest if lowest < 0 else highest
        raise ValueError(
            f"y must lie in [0, {classes}), the classes of z, got {bad}: "
            f"try ignore_index={bad} if it stands for no class"
        )


def check_weights(weight: Sequence[float]) -> None:
    """A weight is a finite number of at least 0."""
    for w in weight:
        if not 0 <= w < float("inf"):
            raise ValueError(f"weight must hold finite numbers of at least 0, got {w}")


def check_sizes(features: int, classes: int) -> None:
    """What the constructor of `SoftmaxRegression` takes."""
    for name, value in (("features", features), ("classes", classes)):
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def _check_targets(y: Any, shape: Shape, axis: int) -> None:
    """Whole numbers in the shape of the labels, or floating point in the shape of `z`."""
    got, labels = shape_of(y, "y"), shape[:axis] + shape[axis + 1 :]
    word = dtype_name(y.dtype)
    whole, floating = word.startswith(("int", "uint")), word.startswith(("float", "bfloat"))
    if (whole and fits(got, labels)) or (floating and fits(got, shape)):
        return
    if fits(got, labels):
        raise TypeError(
            f"y of shape {got} must hold whole numbers, the index of a class for each label, got {word}: "
            f"convert it, say to int64"
        )
    if fits(got, shape):
        raise TypeError(
            f"y has the shape of z, so it must hold probabilities in floating point, got {word}: "
            f"convert it to the dtype of z, or pass class indices of shape {labels}"
        )
    raise ValueError(
        f"y must have shape {labels} for class indices, z without its class axis, "
        f"or {shape} for probabilities, got {got}"
    )


def _check_ignore_index(ignore_index: int, *, probabilities: bool) -> None:
    if not isinstance(ignore_index, Integral):
        raise TypeError(f"ignore_index must be a whole number or None, got {ignore_index!r}")
    if probabilities:
        raise ValueError(
            f"ignore_index must be None where y holds probabilities, got {ignore_index}: "
            "set the rows to leave out to 0, or pass class indices"
        )
