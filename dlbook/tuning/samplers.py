"""Samplers: which configuration is trial number i. A grid, random, Sobol and Halton points, and coarse to fine.

`sampler.config(i)` is a pure function of (space, seed, i): it does not matter what was asked before, by whom, or on
which machine. So a search may be split over many workers, or stopped and taken up again, and still draws the points
that it would have drawn alone. `sampler.point(i)` is the same trial as a point of the unit cube, where one more
hyperparameter at the end of the space leaves the coordinates of `Random` and `Halton` before it as they are.

`CoarseToFine` depends on results as well, and they are handed in: `config(i, losses)`, where `losses` maps trials to
losses. `needs(i)` says how many: the losses of the trials before number `needs(i)`, and no others, are looked at. The
other samplers need none and ignore what they get, so the one call serves all.

Sources: Bergstra and Bengio (2012), Random Search for Hyper-Parameter Optimization; Joe and Kuo (2008), Constructing
Sobol Sequences with Better Two-Dimensional Projections; Owen (1998), Scrambling Sobol' and Niederreiter-Xing Points.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import fsum, prod
from typing import Any, ClassVar

import numpy as np

from dlbook.shapes import check_number
from dlbook.tuning.ranking import best, check_loss, check_whole
from dlbook.tuning.scales import Choice, Integer, Scale
from dlbook.tuning.space import Space

Losses = Mapping[int, float]
Point = tuple[float, ...]

BLOCK = 256  # points of a sequence that are computed together; Sobol points are balanced in powers of 2


class Sampler:
    """What the samplers share. One of your own needs `space` and `point(i, losses=None)`."""

    def config(self, i: int, losses: Losses | None = None) -> dict[str, Any]:
        """The configuration of trial number `i`, counted from 0."""
        return self.space.config(self.point(i, losses))

    def needs(self, i: int) -> int:
        """The losses of all trials before this number must be known to draw trial `i`."""
        return 0


@dataclass(frozen=True)
class _Seeded(Sampler):
    space: Space
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self):
        _check_space(self.space)
        check_whole("seed", self.seed, 0)


class Random(_Seeded):
    """Every coordinate of every trial uniform and independent."""

    def point(self, i: int, losses: Losses | None = None) -> Point:
        """Trial `i` as a point of the unit cube, from a random generator of its own."""
        check_whole("i", i, 0)
        return tuple(np.random.default_rng([self.seed, i]).random(self.space.dimensions).tolist())


@dataclass(frozen=True)
class _Sequence(_Seeded):
    scramble: bool = field(default=True, kw_only=True)

    name: ClassVar[str]  # of the engine in `scipy.stats.qmc`

    def point(self, i: int, losses: Losses | None = None) -> Point:
        """Trial `i` as a point of the unit cube: term `i` of the sequence."""
        check_whole("i", i, 0)
        block = _block(self.name, self.space.dimensions, self.seed, self.scramble, i // BLOCK)
        return block[i % BLOCK]


class Sobol(_Sequence):
    """Points that fill the cube evenly: of the first 2**m, each of 2**m slices of an axis holds exactly one.

    Best at powers of 2. The seed scrambles the sequence; `scramble=False` is the plain one, which begins at 0.
    """

    name = "Sobol"


class Halton(_Sequence):
    """Axis k counts with the digits reversed, in the k-th prime as base: even at any number of trials.

    Plain (`scramble=False`), the axes of large primes march in step, and in six dimensions sixteen points cover the
    cube worse than random ones do.
    """

    name = "Halton"


@dataclass(frozen=True)
class Grid(Sampler):
    """Every combination of a few values on each axis: the middles of `levels` equal parts, the last axis fastest.

    `levels` is one number, or a dictionary with a number for each name. A `Choice` takes all its options, an
    `Integer` no more levels than it has values. A seed shifts each axis at random within its parts.
    """

    space: Space
    levels: int | Mapping[str, int] = 3
    seed: int | None = field(default=None, kw_only=True)

    def __post_init__(self):
        _check_space(self.space)
        if self.seed is not None:
            check_whole("seed", self.seed, 0)
        if isinstance(self.levels, Mapping):
            wanted = {name for name, scale in self.space.scales.items() if not isinstance(scale, Choice)}
            if self.levels.keys() != wanted:
                raise ValueError(
                    f"levels must have a number for each of {sorted(wanted)}, got {sorted(self.levels)}"
                )
        for number in self.levels.values() if isinstance(self.levels, Mapping) else [self.levels]:
            check_whole("levels", number, 1)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """How many values each axis takes."""
        return tuple(self._parts(name, scale) for name, scale in self.space.scales.items())

    def __len__(self) -> int:
        return prod(self.shape)

    def point(self, i: int, losses: Losses | None = None) -> Point:
        """Trial `i` as a point of the unit cube."""
        check_whole("i", i, 0)
        if i >= len(self):
            raise ValueError(
                f"i must be below {len(self)}, the points of this grid, got {i}: Random has no end"
            )
        parts = np.unravel_index(i, self.shape)
        return tuple((k + s) / n for k, s, n in zip(map(int, parts), self._shift, self.shape, strict=True))

    @cached_property
    def _shift(self) -> list[float]:
        """Where in its part the point lies, on each axis."""
        if self.seed is None:
            return [0.5] * len(self.shape)
        return np.random.default_rng(self.seed).random(len(self.shape)).tolist()

    def _parts(self, name: str, scale: Scale) -> int:
        if isinstance(scale, Choice):
            return len(scale.options)
        levels = self.levels[name] if isinstance(self.levels, Mapping) else self.levels
        return min(levels, scale.high - scale.low + 1) if isinstance(scale, Integer) else levels


@dataclass(frozen=True)
class CoarseToFine(Sampler):
    """Another sampler's points, drawn from the whole space first and then from a box around the best.

    Trials come in stages of `stage`. In stage s = 1, 2, ... the box has sides of `shrink**s` and its centre at the
    mean of the best `keep` trials of the stages before, pushed back into the cube where it sticks out. The axis of a
    `Choice`, which has no order, stays whole. With `fresh=4` every fourth trial of the later stages is still drawn
    from the whole space; with 0 none is.

    So `config(i, losses)` is a function of the sampler, `stage`, `keep`, `shrink`, `fresh`, i and the losses of the
    trials before `needs(i)`, which are those of all earlier stages. The trials of one stage can run in any order, and
    later losses change nothing. Infeasible trials are never among the best; without any feasible one there is no box.
    """

    sampler: Sampler
    stage: int
    keep: int = field(default=3, kw_only=True)
    shrink: float = field(default=0.25, kw_only=True)
    fresh: int = field(default=0, kw_only=True)

    def __post_init__(self):
        if not isinstance(self.sampler, Sampler) or isinstance(self.sampler, CoarseToFine):
            raise TypeError(f"sampler must be one such as Sobol(space), got {self.sampler!r}")
        check_whole("stage", self.stage, 1)
        check_whole("keep", self.keep, 1)
        check_number("shrink", self.shrink, 0, 1, open_low=True, open_high=True)
        check_whole("fresh", self.fresh, 0)

    @property
    def space(self) -> Space:
        """The space of the sampler within."""
        return self.sampler.space

    def needs(self, i: int) -> int:
        """The losses of all trials before this number must be known to draw trial `i`."""
        return 0 if self._is_whole(i) else i - i % self.stage

    def point(self, i: int, losses: Losses | None = None) -> Point:
        """Trial `i` as a point of the unit cube."""
        check_whole("i", i, 0)
        losses = losses or {}
        missing = [trial for trial in range(self.needs(i)) if trial not in losses]
        if missing:
            raise ValueError(
                f"losses must hold the trials before {self.needs(i)} to draw trial {i}; missing: {missing[:5]}"
                + " ..." * (len(missing) > 5)
            )
        return self._place(i, self._corners(self.needs(i) // self.stage, losses))

    def _is_whole(self, i: int) -> bool:
        return i < self.stage or bool(self.fresh and i % self.fresh == 0)

    def _corners(self, stages: int, losses: Losses) -> list[Point | None]:
        """The low corner of the box of each stage; None where it is the whole cube."""
        corners: list[Point | None] = [None]
        for stage in range(1, stages + 1):
            known = {trial: check_loss(losses[trial]) for trial in range(stage * self.stage)}
            leaders = [self._place(trial, corners) for trial in best(known, self.keep)]
            corners.append(self._corner(leaders, self._sides(stage)) if leaders else None)
        return corners

    def _corner(self, leaders: list[Point], sides: list[float]) -> Point:
        centres = [fsum(axis) / len(leaders) for axis in zip(*leaders, strict=True)]
        return tuple(min(max(c - side / 2, 0.0), 1 - side) for c, side in zip(centres, sides, strict=True))

    def _sides(self, stage: int) -> list[float]:
        small = prod([self.shrink] * stage)  # not shrink**stage, which rounds differently elsewhere
        return [small if scale.ordered else 1.0 for scale in self.space.scales.values()]

    def _place(self, trial: int, corners: list[Point | None]) -> Point:
        u, stage = self.sampler.point(trial), trial // self.stage
        if self._is_whole(trial) or corners[stage] is None:
            return u
        return tuple(
            low + side * x for low, side, x in zip(corners[stage], self._sides(stage), u, strict=True)
        )


@lru_cache(maxsize=64)
def _block(sequence: str, dimensions: int, seed: int, scramble: bool, number: int) -> list[Point]:
    """Points `number * BLOCK` and on."""
    from scipy.stats import qmc  # takes a second to import

    engine = getattr(qmc, sequence)(dimensions, scramble=scramble, rng=seed)
    if number:
        engine.fast_forward(number * BLOCK)
    return [tuple(row) for row in engine.random(BLOCK).tolist()]


def _check_space(space: Space) -> None:
    if not isinstance(space, Space):
        raise TypeError(f"space must be a Space, got {space!r}: try Space(lr=Log(0.0001, 1))")
