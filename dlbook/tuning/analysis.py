"""Reading a search: is the range wide enough, does this hyperparameter matter, and which of them do?

Numbers for the figures of `figures.py`, and for assertions. All of them are relative to the ranges and scales that
were searched: where all learning rates are good, the learning rate matters little.

Sources: Godbole and others (2023), Deep Learning Tuning Playbook (axis plots, isolation plots); Hutter, Hoos and
Leyton-Brown (2014), An Efficient Approach for Assessing Hyperparameter Importance,
https://proceedings.mlr.press/v32/hutter14.html (shares of the variance, by a forest).
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from dlbook.shapes import check_number
from dlbook.tuning.ranking import check_whole, feasible
from dlbook.tuning.scales import Choice, Integer, OffOr, Scale
from dlbook.tuning.study import Done, Study

MARGIN = 0.1  # of an axis is its end
LEVELS = 16  # at which the mean prediction along an axis is looked at


def edges(study: Study, *, best: int = 5, margin: float = MARGIN) -> dict[str, str]:
    """The hyperparameters whose best values lie at an end of their range: {"lr": "high"} asks for a wider one.

    At an end is the outer `margin` of the axis, as its scale bends it, or the first or last of whole numbers. It
    takes the best trial and more than half of the best `best`; the best alone is there often enough by chance.
    """
    check_whole("best", best, 1)
    check_number("margin", margin, 0, 0.5)
    found = {}
    for name, scale in study.check_space().scales.items():
        ends = [_end(scale, one.config[name], margin) for one in study.top(best)]
        if ends and ends[0] and 2 * ends.count(ends[0]) > len(ends):
            found[name] = ends[0]
    return found


class Isolated(NamedTuple):
    """The trials in one part of an axis, and the best of those that were trained longest, if there is one."""

    label: str
    trials: list[int]
    best: Done | None


def isolate(study: Study, name: str, bins: int = 5) -> list[Isolated]:
    """The best trial in each part of one axis, whatever the others are: what it does once the others are tuned to it.

    The parts are the options of a `Choice`, the values of whole numbers where there are no more than `bins`, or else
    `bins` equal parts of the axis, as its scale bends it.
    """
    check_whole("bins", bins, 1)
    scale = scale_of(study, name)
    parts: list[list[Done]] = [[] for _ in _labels(scale, bins)]
    for one in study.trials.values():
        parts[_part(scale, one.config[name], bins)].append(one)
    longest = [one.trial for one in study.top() if one.resource == study.best.resource]
    return [
        Isolated(
            label,
            [one.trial for one in part],
            min((one for one in part if one.trial in longest), key=lambda one: one.loss, default=None),
        )
        for label, part in zip(_labels(scale, bins), parts, strict=True)
    ]


class Importance(NamedTuple):
    """The share of the variance of the loss that each hyperparameter explains alone, from the largest down."""

    shares: dict[str, float]
    together: float  # what none of them explains alone
    fit: float  # R² of the forest for trials that it has not seen: shares mean little where it is small


def importance(
    study: Study, *, cap: float | None = None, trees: int = 100, points: int = 256, seed: int = 0
) -> Importance:
    """How much each hyperparameter matters, over the ranges that were searched: functional ANOVA of a random forest.

    The forest learns the loss from the points in the unit cube. A share is the variance of its mean prediction along
    the axis, over that of all its predictions. Losses above `cap`, such as that of guessing, count as `cap`: without
    it a few huge ones decide everything. So do diverged trials, or else as the worst of the others.
    """
    from sklearn.ensemble import RandomForestRegressor  # takes a second to import

    for what, number, least in (("trees", trees, 10), ("points", points, 2), ("seed", seed, 0)):
        check_whole(what, number, least)
    if len(study.top()) < 10:
        raise ValueError(f"study must have at least 10 feasible trials to learn from, got {len(study.top())}")
    x, y = unit_points(study), losses(study, cap)
    forest = RandomForestRegressor(trees, oob_score=True, random_state=seed).fit(x, y)
    draws = np.random.default_rng(seed).random((points, x.shape[1]))
    shares = {}
    for k, name in enumerate(study.check_space().scales):
        where = np.repeat(draws[None], LEVELS, axis=0)
        where[:, :, k] = (np.arange(LEVELS)[:, None] + 0.5) / LEVELS
        predicted = forest.predict(where.reshape(-1, x.shape[1])).reshape(LEVELS, points)
        total = predicted.var()
        shares[name] = float(predicted.mean(axis=1).var() / total) if total > 0 else 0.0
    shares = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return Importance(shares, max(1 - sum(shares.values()), 0.0), float(forest.oob_score_))


def unit_points(study: Study) -> np.ndarray:
    """Where each trial lies in the unit cube, (trials, hyperparameters that vary)."""
    scales = study.check_space().scales.items()
    return np.array(
        [[scale.unit(one.config[name]) for name, scale in scales] for one in study.trials.values()]
    )


def losses(study: Study, cap: float | None = None) -> np.ndarray:
    """The loss of each trial; `cap`, or the worst of the feasible, where it is larger or not a number."""
    given = np.array(list(study.losses.values()))
    worst = max(loss for loss in given if feasible(loss)) if cap is None else cap
    return np.where(np.isfinite(given), np.minimum(given, worst), worst)


def scale_of(study: Study, name: str) -> Scale:
    """The scale of a hyperparameter; ValueError for one that does not vary."""
    scales = study.check_space().scales
    if name not in scales:
        raise ValueError(f"name must be of a hyperparameter that varies, {', '.join(scales)}; got {name!r}")
    return scales[name]


def _end(scale: Scale, value: Any, margin: float) -> str | None:
    if isinstance(scale, Choice) or (isinstance(scale, OffOr) and value == scale.off):
        return None
    if isinstance(scale, OffOr):  # what lies beyond the low end is `off`, which is in the range
        return {"high": "high"}.get(_end(scale.scale, value, margin))
    first, last = (scale.low, scale.high) if isinstance(scale, Integer) else (None, None)
    if value == first or scale.unit(value) <= margin:
        return "low"
    return "high" if value == last or scale.unit(value) >= 1 - margin else None


def _labels(scale: Scale, bins: int) -> list[str]:
    if isinstance(scale, Choice):
        return [str(option) for option in scale.options]
    if _is_short(scale, bins):
        return [str(value) for value in range(scale.low, scale.high + 1)]
    if isinstance(scale, OffOr):
        return [str(scale.off), *_labels(scale.scale, bins)]
    ends = [scale.value(k / bins) for k in range(bins + 1)]
    words = [f"{end:.2g}" if isinstance(end, float) else str(end) for end in ends]
    return [f"{low} – {high}" for low, high in pairwise(words)]


def _part(scale: Scale, value: Any, bins: int) -> int:
    if isinstance(scale, Choice):
        return scale.options.index(value)
    if _is_short(scale, bins):
        return value - scale.low
    if isinstance(scale, OffOr):
        return 0 if value == scale.off else 1 + _part(scale.scale, value, bins)
    return min(int(scale.unit(value) * bins), bins - 1)


def _is_short(scale: Scale, bins: int) -> bool:
    return isinstance(scale, Integer) and scale.high - scale.low < bins
