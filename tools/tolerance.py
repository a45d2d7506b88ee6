"""Compare two outputs as nbval does, but let floating-point numbers differ as they do between CPUs.

Words and integers must be equal. A float may differ by a thousandth of itself, by one in its last printed digit
when it shows three digits or more (a rounding that fell on the other side), or by a millionth (round-off
around zero). Blanks that pad a column do not count, since NumPy pads to the longest number.

Some training amplifies rounding until the second digit differs: batches of two, rates at the edge of divergence,
counts of trials near a limit. Cells with such outputs carry the tag `rounding`. There words must be equal, and a
number may differ by three tenths of itself, a float by 0.1, a count by 3. What matters of it is asserted on the page.
"""

import math
import re

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]*\w)")
RELATIVE, ABSOLUTE = 1e-3, 1e-6


def close(left: str, right: str, *, loose: bool = False) -> bool:
    """Whether two printed outputs say the same; `loose` is for cells with the tag `rounding`."""
    words = [re.sub(r"\[ ", "[", re.sub(r"[ \t]+", " ", text)) for text in (left, right)]
    if NUMBER.sub("#", words[0]) != NUMBER.sub("#", words[1]):
        return False
    numbers = zip(NUMBER.findall(words[0]), NUMBER.findall(words[1]), strict=True)
    return all((roughly if loose else numbers_close)(one, other) for one, other in numbers)


def roughly(left: str, right: str) -> bool:
    counts = is_integer(left) and is_integer(right)
    return math.isclose(float(left), float(right), rel_tol=0.3, abs_tol=3 if counts else 0.1)


def numbers_close(left: str, right: str) -> bool:
    if left == right:
        return True
    if is_integer(left) or is_integer(right):
        return False
    allowed = max(ABSOLUTE, min(last_digit(left), last_digit(right)))
    return math.isclose(float(left), float(right), rel_tol=RELATIVE, abs_tol=allowed * 1.01)


def is_integer(number: str) -> bool:
    return not re.search(r"[.eE]", number)


def last_digit(number: str) -> float:
    """The value of one unit in the last printed digit; 0 when fewer than three digits are shown."""
    mantissa, _, exponent = number.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    if len((whole + fraction).lstrip("0")) < 3:
        return 0.0
    return 10.0 ** (int(exponent or 0) - len(fraction))


class TolerantText(str):
    """A string that equals every string `close` to it: what nbval compares, in place of its own strings."""

    __slots__ = ()
    __hash__ = str.__hash__
    loose = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and close(self, other, loose=self.loose)

    def __ne__(self, other: object) -> bool:
        return not self == other


class LooseText(TolerantText):
    """The same for cells with the tag `rounding`."""

    __slots__ = ()
    __hash__ = str.__hash__
    loose = True


def tolerant(output: object, *, loose: bool = False) -> object:
    """An output with every string in it, also in a verdict's data, made tolerant."""
    if isinstance(output, str):
        return (LooseText if loose else TolerantText)(output)
    if isinstance(output, dict):
        return {name: tolerant(value, loose=loose) for name, value in output.items()}
    return output
