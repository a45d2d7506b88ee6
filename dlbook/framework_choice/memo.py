"""A decision memo: scores times weights, and which weight the decision hangs on."""

from collections.abc import Mapping
from typing import NamedTuple

TIE = 1e-9  # totals closer than this are level, and a draw does not take the win away


class Memo(NamedTuple):
    """`totals` in [0, best score], sorted; the `winner`; its `lead` over the next; the `flips` of the sensitivity."""

    totals: dict[str, float]
    winner: str
    lead: float
    flips: list[tuple[str, float, str]]


def weighted(scores: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]) -> dict[str, float]:
    """The weighted mean score of each option, the best first. `scores[option][criterion]`, `weights[criterion]`.

    Raises ValueError for a negative weight, weights that are all 0, and a criterion that an option has no score for.
    """
    if not scores:
        raise ValueError("scores must hold at least one option, got none")
    if min(weights.values(), default=0) < 0 or sum(weights.values()) == 0:
        raise ValueError(f"weights must be at least 0 and not all 0, got {dict(weights)}")
    for option, row in scores.items():
        if missing := set(weights) - set(row):
            raise ValueError(
                f"scores[{option!r}] must have every criterion; it lacks {', '.join(sorted(missing))}"
            )
    whole = sum(weights.values())
    totals = {
        option: sum(weight * row[criterion] for criterion, weight in weights.items()) / whole
        for option, row in scores.items()
    }
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def memo(
    scores: Mapping[str, Mapping[str, float]], weights: Mapping[str, float], *, change: float = 0.5
) -> Memo:
    """The winner, and every single weight that, times 1 + `change` or 1 - `change`, hands the win to another option.

    A flip is (criterion, factor, new winner). No flips: the decision does not hang on any one weight that much.
    """
    if not 0 < change <= 1:
        raise ValueError(f"change must be in (0, 1], got {change}")
    totals = weighted(scores, weights)
    winner, *others = totals
    flips = []
    for criterion in weights:
        for factor in (1 - change, 1 + change):
            changed = weighted(scores, {**weights, criterion: weights[criterion] * factor})
            first = next(iter(changed))
            if changed[first] > changed[winner] + TIE:
                flips.append((criterion, factor, first))
    lead = totals[winner] - totals[others[0]] if others else totals[winner]
    return Memo(totals, winner, lead, flips)


def tipping_factor(
    scores: Mapping[str, Mapping[str, float]], weights: Mapping[str, float], criterion: str
) -> tuple[float, str] | None:
    """The factor nearest to 1, on a log scale, by which `criterion`'s weight must be multiplied to change the winner.

    With the option that then draws level. None where no positive factor does it. The totals are linear in the weight,
    so each rival draws level at one factor at most.
    """
    totals = weighted(scores, weights)
    winner = next(iter(totals))
    whole = sum(weights.values())
    found = []
    for rival in totals:
        per_factor = weights[criterion] * (scores[winner][criterion] - scores[rival][criterion]) / whole
        behind = totals[winner] - totals[rival]
        if rival != winner and per_factor != 0 and (factor := 1 - behind / per_factor) > 0:
            found.append((factor, rival))
    return min(found, key=lambda pair: max(pair[0], 1 / pair[0]), default=None)
