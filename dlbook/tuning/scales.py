"""Scales: how a number between 0 and 1 becomes a learning rate, a momentum, a width or a name.

A scale bends its axis until equal steps matter equally, and is uniform on the bent axis. `value(u)` goes from u in
[0, 1) to the value and `unit(v)` goes back, so `unit(b) - unit(a)` is the share of all trials that fall between a
and b. Under 0.1 fall 10 % of the trials on a linear axis from 0.0001 to 1, and 75 % on a log axis:

>>> Log(1e-4, 1).value(0.5)
0.01
>>> Linear(1e-4, 1).unit(0.1), Log(1e-4, 1).unit(0.1)
(0.09990999099909992, 0.75)

Both functions take one number or a NumPy array of them. A larger u never gives a smaller value; u = 0 gives `low` and
u = 1, which no sampler draws, gives `high`, both exactly. The bending is done in 30 decimal digits and rounded once:
`exp` and `log` of floats differ in the last bit from one processor to the next, and a search must not. That takes
about 20 microseconds a number.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal, localcontext
from functools import cached_property
from math import inf
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from dlbook.shapes import check_number

PRECISE = Context(prec=30)
HALF = Decimal("0.5")


class Scale:
    """What the scales share. One of your own needs `_value(u)` and `_unit(v)` for single numbers."""

    dtype: ClassVar[type] = object  # of an array of values
    ordered: ClassVar[bool] = True  # values that lie close together on the unit interval are alike

    def value(self, u: Any) -> Any:
        """The value at `u` in [0, 1]; an array of values for an array."""
        return _each(self._value, u, self.dtype)

    def unit(self, v: Any) -> Any:
        """Where `v` lies in [0, 1]: `value(unit(v))` is `v`, but for rounding."""
        return _each(self._unit, v, float)

    def words(self) -> tuple[str, str]:
        """The kind of scale and its range, as a table shows them."""
        return type(self).__name__, ""


@dataclass(frozen=True)
class _Numbers(Scale):
    """Numbers between `low` and `high`, uniform on the axis that `_bend` makes of theirs."""

    low: float
    high: float

    kind: ClassVar[str]
    dtype: ClassVar[type] = float
    _bend: ClassVar[Callable[[Decimal], Decimal]]
    _unbend: ClassVar[Callable[[Decimal], Decimal]]

    def __post_init__(self):
        for name in ("low", "high"):
            check_number(name, getattr(self, name), -inf, inf, open_low=True, open_high=True)
            object.__setattr__(self, name, float(getattr(self, name)))
        self._check_range()
        _check_order(self)

    def _check_range(self) -> None:
        """Every number will do, unless a subclass says otherwise."""

    @cached_property
    def _ends(self) -> tuple[Decimal, Decimal]:
        with localcontext(PRECISE):
            return self._bend(Decimal(self.low)), self._bend(Decimal(self.high))

    def _value(self, u: float) -> float:
        check_number("u", u, 0, 1)
        return float(self._at(u))

    def _at(self, u: float) -> Decimal:
        (low, high), u = self._ends, Decimal(float(u))
        with localcontext(PRECISE):
            return self._unbend((1 - u) * low + u * high)

    def _unit(self, v: float) -> float:
        check_number("v", v, self.low, self.high)
        low, high = self._ends
        with localcontext(PRECISE):
            return float((self._bend(Decimal(float(v))) - low) / (high - low))

    def words(self) -> tuple[str, str]:
        return self.kind, f"{short(self.low)} to {short(self.high)}"


class Linear(_Numbers):
    """Uniform between `low` and `high`: for what stays within one order of magnitude, such as dropout."""

    kind = "linear"
    _bend = _unbend = staticmethod(lambda v: v)


class Log(_Numbers):
    """Uniform in log v, as many trials in each power of ten: for learning rates and all that spans decades."""

    kind = "log"
    _bend, _unbend = staticmethod(Decimal.ln), staticmethod(Decimal.exp)

    def _check_range(self) -> None:
        low, high = sorted((self.low, self.high))
        got = f"got low={short(self.low)}, high={short(self.high)}"
        if -300 < low < 0 and high < 300:
            raise ValueError(
                f"low and high must be above 0, {got}: if these are exponents of 10, "
                f"write Log({short(10**low)}, {short(10**high)})"
            )
        if low <= 0:
            raise ValueError(
                f"low and high must be above 0, where there is a logarithm, {got}: try Log(1e-06, 1), or "
                "OffOr(Log(1e-06, 1)) if 0 itself is worth a trial"
            )


class OneMinusLog(_Numbers):
    """Uniform in log(1 - v): for the weight that an average keeps, where 0.999 is to 0.99 as 0.99 is to 0.9.

    An average with weight v spans about 1 / (1 - v) steps; this is the log scale of that span.
    """

    kind = "log of 1 - value"
    _bend = staticmethod(lambda v: -(1 - v).ln())
    _unbend = staticmethod(lambda x: 1 - (-x).exp())

    def _check_range(self) -> None:
        low, high = sorted((self.low, self.high))
        got = f"got low={short(self.low)}, high={short(self.high)}"
        if low < 0 and high <= 0:
            raise ValueError(
                f"low and high must lie in [0, 1), {got}: if these are exponents of 10 for 1 - v, "
                f"write OneMinusLog({short(1 - 10**high)}, {short(1 - 10**low)})"
            )
        if not 0 <= low <= high < 1:
            raise ValueError(
                f"low and high must lie in [0, 1), where log(1 - v) is a number, {got}: try OneMinusLog(0.9, 0.999)"
            )


@dataclass(frozen=True)
class Integer(_Numbers):
    """Whole numbers from `low` to `high`, both included; `log=True` for widths and counts that span decades.

    The axis runs from low - 1/2 to high + 1/2 and is rounded, so that the ends come up as often as their
    neighbours. Rounding between `low` and `high` would give each end half its share.
    """

    low: int
    high: int
    log: bool = False

    dtype: ClassVar[type] = int

    def __post_init__(self):
        for name in ("low", "high"):
            bound = getattr(self, name)
            if not isinstance(bound, Integral) or abs(bound) > 2**40:
                raise ValueError(f"{name} must be a whole number, at most 2**40 in size, got {bound!r}")
            object.__setattr__(self, name, int(bound))
        if self.log and min(self.low, self.high) < 1:
            raise ValueError(
                f"low must be at least 1 on a log scale, got low={self.low}, high={self.high}: try log=False"
            )
        _check_order(self)

    @property
    def kind(self) -> str:
        return "whole numbers, log" if self.log else "whole numbers"

    def _bend(self, v: Decimal) -> Decimal:
        return v.ln() if self.log else v

    def _unbend(self, x: Decimal) -> Decimal:
        return x.exp() if self.log else x

    @cached_property
    def _ends(self) -> tuple[Decimal, Decimal]:
        with localcontext(PRECISE):
            return self._bend(self.low - HALF), self._bend(self.high + HALF)

    def _value(self, u: float) -> int:
        check_number("u", u, 0, 1)
        with localcontext(PRECISE):
            whole = int((self._at(u) + HALF).to_integral_value(ROUND_FLOOR))
        return min(max(whole, self.low), self.high)

    def _unit(self, v: int) -> float:
        unit = super()._unit(v)
        if v != int(v):
            raise ValueError(f"v must be a whole number, got {v}")
        return unit


@dataclass(frozen=True, init=False, repr=False)
class Choice(Scale):
    """One of several options in no order, each as likely: `Choice("relu", "tanh")`."""

    options: tuple

    ordered: ClassVar[bool] = False

    def __init__(self, *options: Any):
        if len(options) == 1 and isinstance(options[0], list | tuple):
            listed = ", ".join(map(repr, options[0]))
            raise TypeError(f"options must come one by one, got {options[0]!r}: write Choice({listed})")
        if len(options) < 2:
            raise ValueError(f"options must be at least two, got {options}: {ALONE}")
        for option in options:
            if type(option).__hash__ is None:
                raise TypeError(f"options must be hashable, got {option!r}: try a tuple, or a name for it")
        if len(set(options)) < len(options) or any(option != option for option in options):
            raise ValueError(f"options must differ from one another, and none may be NaN, got {options}")
        object.__setattr__(self, "options", options)

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.options))})"

    def _value(self, u: float) -> Any:
        check_number("u", u, 0, 1)
        return self.options[min(int(u * len(self.options)), len(self.options) - 1)]

    def _unit(self, v: Any) -> float:
        if v not in self.options:
            raise ValueError(f"v must be one of {self.options}, got {v!r}")
        return (self.options.index(v) + 0.5) / len(self.options)

    def words(self) -> tuple[str, str]:
        return "choice", ", ".join(map(str, self.options))


@dataclass(frozen=True)
class OffOr(Scale):
    """`off` in a `share` of the trials, else a number from `scale`: `OffOr(Log(1e-6, 1e-2))` for weight decay.

    No log scale reaches 0. The lowest u are `off`, so `off` is a neighbour of the low end.
    """

    scale: _Numbers
    off: Any = 0.0
    share: float = 0.25

    def __post_init__(self):
        if not isinstance(self.scale, _Numbers):
            raise TypeError(
                f"scale must have a low and a high end, as Log(1e-06, 0.01) has, got {self.scale!r}"
            )
        check_number("share", self.share, 0, 1, open_low=True, open_high=True)
        if isinstance(self.off, Real) and not (self.off < self.scale.low or self.off > self.scale.high):
            raise ValueError(
                f"off must be a number outside the range of scale, {self.scale.words()[1]}, got {self.off}: "
                "use the scale alone if that value needs no share of its own"
            )

    @property
    def dtype(self) -> Any:
        return np.result_type(self.scale.dtype, type(self.off)) if isinstance(self.off, Real) else object

    def _value(self, u: float) -> Any:
        check_number("u", u, 0, 1)
        return self.off if u < self.share else self.scale.value((u - self.share) / (1 - self.share))

    def _unit(self, v: Any) -> float:
        return self.share / 2 if v == self.off else self.share + (1 - self.share) * self.scale.unit(v)

    def words(self) -> tuple[str, str]:
        kind, numbers = self.scale.words()
        off = short(self.off) if isinstance(self.off, Real) else self.off
        return f"off or {kind}", f"{off} ({short(100 * self.share)} %) or {numbers}"


ALONE = "a hyperparameter that does not vary is a plain value in its Space, such as Space(lr=0.1)"


def short(number: float) -> str:
    """A number as a reader would write it: 1, 0.0001, 1e-05."""
    return f"{number:.12g}"


def _each(function: Callable, x: Any, dtype: type) -> Any:
    if not isinstance(x, np.ndarray):
        return function(x)
    return np.fromiter(map(function, x.ravel().tolist()), dtype, count=x.size).reshape(x.shape)


def _check_order(scale: _Numbers) -> None:
    kind, low, high = type(scale).__name__, short(scale.low), short(scale.high)
    if scale.low == scale.high:
        raise ValueError(f"low must be below high, got {low} twice: {ALONE}")
    if scale.low > scale.high:
        other = f", or {kind}({short(1 - scale.low)}, {short(1 - scale.high)}) if these are values of 1 - v"
        raise ValueError(
            f"low must be below high, got low={low}, high={high}: write {kind}({high}, {low})"
            + other * isinstance(scale, OneMinusLog)
        )
