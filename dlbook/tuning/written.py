"""Reading what `repr` has written: spaces, samplers and schedulers that a storage holds in words.

>>> read_repr("Space(lr=Log(low=0.0001, high=1.0), hidden=64)")
Space(lr=Log(low=0.0001, high=1.0), hidden=64)

Only the names below are called, and only with plain values, so reading runs nothing that whoever wrote it has chosen.
"""

import ast
from collections.abc import Mapping
from math import inf, nan
from typing import Any

from dlbook.tuning import samplers, scales, schedulers
from dlbook.tuning.space import Fixed, Space

CALLED = {
    one.__name__: one
    for one in (
        Space,
        Fixed,
        scales.Linear,
        scales.Log,
        scales.OneMinusLog,
        scales.Integer,
        scales.Choice,
        scales.OffOr,
        samplers.Random,
        samplers.Sobol,
        samplers.Halton,
        samplers.Grid,
        samplers.CoarseToFine,
        schedulers.ASHA,
    )
}


def read_repr(words: str, names: Mapping[str, Any] | None = None) -> Any:
    """The value that `words` describe, in which `names` stand for values; ValueError for what is not of this book."""
    try:
        return _value(ast.parse(words, mode="eval").body, {"inf": inf, "nan": nan, **(names or {})})
    except (KeyError, SyntaxError) as error:
        raise ValueError(
            f"words must be made of {', '.join(CALLED)} and plain values, got {words!r} ({error}): what is your own "
            "is known to your own script alone, so start that on the other machines"
        ) from None


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Call(func=ast.Name(id=name)):
            keywords = {one.arg: _value(one.value, names) for one in node.keywords}
            return CALLED[name](*(_value(one, names) for one in node.args), **keywords)
        case ast.Name(id=name):
            return names[name]
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand, names)
        case ast.Tuple():
            return tuple(_value(one, names) for one in node.elts)
        case ast.List():
            return [_value(one, names) for one in node.elts]
        case ast.Dict(keys=keys) if None not in keys:
            values = [_value(one, names) for one in node.values]
            return dict(zip([_value(one, names) for one in keys], values, strict=True))
        case ast.Constant():
            return node.value
    raise KeyError(ast.unparse(node))
