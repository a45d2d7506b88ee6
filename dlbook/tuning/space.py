"""The search space: a scale for each hyperparameter that varies, a value for each that does not.

>>> from dlbook.tuning.scales import Integer, Log
>>> space = Space(lr=Log(1e-4, 1), hidden=Integer(16, 256, log=True), activation="relu").scientific("hidden")
>>> print(space)
name        role        scale               range
lr          nuisance    log                 0.0001 to 1
hidden      scientific  whole numbers, log  16 to 256
activation  fixed                           relu
>>> space.config((0.5, 0.5))
{'lr': 0.01, 'hidden': 63, 'activation': 'relu'}

The roles are those of Godbole and others (2023), Deep Learning Tuning Playbook. A *scientific* hyperparameter is one
whose effect the study asks for; a *nuisance* one has to be tuned for each of its values, or the comparison is unfair;
a *fixed* one stays where it is, and the conclusions hold for that value alone. Another question gives the same space
other roles: they say how results are read, not what is drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from numbers import Number
from typing import Any

from dlbook.tuning.scales import Scale

HEADINGS = ("name", "role", "scale", "range")


@dataclass(frozen=True)
class Fixed:
    """A value that does not vary and is no plain number or word: `Space(sizes=Fixed((64, 64)))`."""

    value: Any


class Space:
    """Hyperparameters by name; the k-th one with a scale is the k-th coordinate of a point in the unit cube.

    `Space(lr=Log(1e-4, 1), weight_decay=OffOr(Log(1e-6, 1e-2)), act=Choice("relu", "tanh"), batch_size=64)`: numbers,
    strings, booleans and None are fixed values, and so is whatever stands in `Fixed`.
    """

    def __init__(self, /, **hyperparameters: Any):
        for name, given in hyperparameters.items():
            _check_given(name, given)
        self._given = hyperparameters
        self._scientific: tuple[str, ...] = ()
        self.scales = {name: one for name, one in hyperparameters.items() if isinstance(one, Scale)}
        self.fixed = {
            name: one.value if isinstance(one, Fixed) else one
            for name, one in hyperparameters.items()
            if name not in self.scales
        }

    @property
    def dimensions(self) -> int:
        """How many hyperparameters vary."""
        return len(self.scales)

    @property
    def roles(self) -> dict[str, str]:
        """ "scientific", "nuisance" or "fixed" for each name."""
        return {name: self._role(name) for name in self._given}

    def config(self, point: Sequence[float]) -> dict[str, Any]:
        """The configuration at a point of the unit cube, which has one coordinate for each scale."""
        if len(point) != self.dimensions:
            raise ValueError(
                f"point must have {self.dimensions} coordinates, one each for {self._varying()}; got {len(point)}"
            )
        values = {name: scale.value(u) for (name, scale), u in zip(self.scales.items(), point, strict=True)}
        return {name: values[name] if name in values else self.fixed[name] for name in self._given}

    def point(self, config: Mapping[str, Any]) -> tuple[float, ...]:
        """Where a configuration lies in the unit cube; `config` need not name what is fixed."""
        missing = [name for name in self.scales if name not in config]
        unknown = [name for name in config if name not in self._given]
        if missing or unknown:
            raise ValueError(
                f"config must have a value for {self._varying()}; missing: {missing}, unknown: {unknown}"
            )
        return tuple(scale.unit(config[name]) for name, scale in self.scales.items())

    def scientific(self, *names: str) -> "Space":
        """The same space, asked for the effect of these hyperparameters; all others that vary are nuisance."""
        for name in names:
            if name not in self.scales:
                why = f", which is fixed at {self.fixed[name]!r}" if name in self.fixed else ""
                raise ValueError(
                    f"names must be of hyperparameters that vary, {self._varying()}; got {name!r}{why}"
                )
        space = Space(**self._given)
        space._scientific = names
        return space

    def replace(self, /, **changes: Any) -> "Space":
        """The space with another scale or value for some names: `space.replace(lr=Log(0.2, 2))`."""
        for name in changes:
            if name not in self._given:
                raise ValueError(f"changes must be to {', '.join(self._given)}; got {name!r}")
        space = Space(**self._given | changes)
        space._scientific = tuple(name for name in self._scientific if name in space.scales)
        return space

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self._key() == other._key()

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={one!r}" for name, one in self._given.items())
        asked = f".scientific({', '.join(map(repr, self._scientific))})" if self._scientific else ""
        return f"Space({given}){asked}"

    def __str__(self) -> str:
        rows = [HEADINGS, *self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{word}</th>' for word in HEADINGS)
        body = "".join(
            f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(word)}</td>" for word in words)}</tr>'
            for name, *words in self._rows()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _role(self, name: str) -> str:
        if name in self.fixed:
            return "fixed"
        return "scientific" if name in self._scientific else "nuisance"

    def _rows(self) -> list[tuple[str, str, str, str]]:
        words = {name: scale.words() for name, scale in self.scales.items()}
        words |= {name: ("", str(value)) for name, value in self.fixed.items()}
        return [(name, self._role(name), *words[name]) for name in self._given]

    def _varying(self) -> str:
        return ", ".join(self.scales) or "nothing"

    def _key(self) -> tuple:
        return list(self._given.items()), set(self._scientific)


def _check_given(name: str, given: Any) -> None:
    if isinstance(given, Scale | Fixed | Number | str | None):
        return
    if isinstance(given, type) and issubclass(given, Scale):
        raise TypeError(
            f"{name} must have a scale with its range, got the class: write {given.__name__}(low, high)"
        )
    raise TypeError(
        f"{name} must be a scale, such as Log(0.0001, 1) or Choice('relu', 'tanh'), or one value that does not "
        f"vary; got {given!r}: write Fixed(...) around it if it is that value"
    )
