"""Which trials are best: the smallest finite losses. A diverged trial is infeasible, and wins nothing."""

from collections.abc import Mapping
from math import isfinite
from numbers import Integral, Real


def feasible(loss: float) -> bool:
    """False for NaN and the infinities: training diverged, or ended without a result."""
    return isfinite(loss)


def best(losses: Mapping[int, float], k: int) -> list[int]:
    """At most `k` trials from the best down; of equal losses the earlier trial comes first.

    Infeasible trials are never among them, so there may be fewer than `k`, or none.
    """
    return sorted((t for t in losses if feasible(losses[t])), key=lambda t: (losses[t], t))[:k]


def check_loss(loss: float) -> float:
    """A number, NaN included, as a float; else TypeError."""
    if not isinstance(loss, Real):
        raise TypeError(
            f"loss must be a number, or NaN for a trial without a result, got {type(loss).__name__}: try loss.item()"
        )
    return float(loss)


def check_whole(name: str, value: int, least: int) -> None:
    """A whole number of at least `least`, else ValueError."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
