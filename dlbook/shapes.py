"""Shapes: the book's one convention, as words for signatures and as checks with clear errors.

Arrays are `(..., batch, features)`. Every function accepts extra leading axes, so a population of K models
is the same code with a leading axis: `W (K, in, out)`, `lr (K, 1, 1)`. One model is the case without it.
The checks look at shapes only, never at values, and work on the shapes of every framework.
"""

from collections.abc import Sequence
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any

Batch = Annotated[Any, "(..., batch, features)"]
PerFeature = Annotated[Any, "(..., 1, features) or (features,)"]
Logits = Annotated[Any, "(..., classes)"]
Labels = Annotated[Any, "(...), whole numbers in [0, classes)"]

Axis = int | Sequence[int]


def shape_of(x: Any, name: str = "x") -> tuple[int | None, ...]:
    """The shape as a plain tuple; an axis whose length TensorFlow does not know yet is None."""
    if not hasattr(x, "shape"):
        raise TypeError(f"{name} must be an array, got {type(x).__name__}: {x!r}")
    shape = x.shape
    return shape if type(shape) is tuple else tuple(None if n is None else int(n) for n in shape)


def axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """`axis` (one or several, negative ones too) as sorted non-negative axes of an array with `ndim` axes."""
    several = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    bad = [a for a in several if not isinstance(a, Integral) or not -ndim <= a < ndim]
    if bad or not several:
        raise ValueError(
            f"axis must lie in [{-ndim}, {ndim - 1}] for an array with {ndim} axes, got {axis!r}"
        )
    found = tuple(sorted({int(a) % ndim for a in several}))
    if len(found) != len(several):
        raise ValueError(f"axis must name each axis once, got {axis!r} for an array with {ndim} axes")
    return found


def statistics_shape(shape: tuple[int | None, ...], averaged: tuple[int, ...]) -> tuple[int | None, ...]:
    """The shape of a mean over the `averaged` axes, which stay as axes of length 1."""
    return tuple(1 if i in averaged else n for i, n in enumerate(shape))


def check_per_feature(name: str, shape: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> None:
    """One number per feature: `shape` must be `wanted`, from which leading axes may be missing.

    Stricter than broadcasting on purpose: a `gamma` of length 1 beside 64 features is a bug, not a wish.
    """
    tail = wanted[len(wanted) - len(shape) :] if 0 < len(shape) <= len(wanted) else None
    if tail is None or any(None not in (n, m) and n != m for n, m in zip(shape, tail, strict=True)):
        raise ValueError(
            f"{name} must have one value per feature: shape {wanted}, from which leading axes "
            f"may be missing; got {shape}"
        )


def check_number(name: str, value: Any, low: float, high: float, *, open_low=False, open_high=False) -> None:
    """A plain number in [low, high] (ends excluded where `open_`), else ValueError; NaN is always outside."""
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if not (above and below):
        left, right = "(" if open_low else "[", ")" if open_high or high == float("inf") else "]"
        raise ValueError(f"{name} must lie in {left}{low}, {high}{right}, got {value}")


def check_floating(name: str, dtype: Any) -> None:
    """A floating dtype of any framework, else TypeError: whole numbers would be rounded without a word."""
    word = dtype_name(dtype)
    if not word.startswith(("float", "bfloat")):
        raise TypeError(
            f"{name} must hold floating-point numbers, got {word}: convert it first, say to float32"
        )


def is_half(dtype: Any) -> bool:
    """True for float16 and bfloat16, whose sums are made in float32."""
    return dtype_name(dtype) in ("float16", "bfloat16")


def dtype_name(dtype: Any) -> str:
    """The plain name of a dtype of any framework: "float32", "int64"."""
    return _name(type(dtype), dtype)


@cache  # a training step asks some twenty times; the type keeps dtypes of two libraries from being compared
def _name(kind: type, dtype: Any) -> str:
    return (getattr(dtype, "name", None) or str(dtype)).rpartition(".")[2]


def fits(got: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    """The same shape, as far as both are known."""
    return len(got) == len(wanted) and all(None in (n, m) or n == m for n, m in zip(got, wanted, strict=True))


def check_same_library(name: str, x: Any, *named: tuple[str, Any]) -> None:
    """Arrays with the names beside them that are of the library of `x`, whose name is `name`; else TypeError."""
    for other, array in named:
        if not _libraries(x) & _libraries(array):
            raise TypeError(
                f"{other} must be an array of the same library as {name}, {type(x).__module__}.{type(x).__name__}, "
                f"got {type(array).__module__}.{type(array).__name__}: try dlbook.frameworks.from_numpy"
            )


def _libraries(x: Any) -> set[str]:
    return {kind.__module__.partition(".")[0] for kind in type(x).__mro__} - {"builtins"}
