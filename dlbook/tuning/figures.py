"""Figures of a search: a study and an Axes in, Axes out.

Every axis of a hyperparameter is drawn as its scale bends it, from one end of the range to the other, so that equal
distances had equal chances. The best trial is a star, diverged ones are crosses at the top, and trials that a
scheduler stopped are open squares: no figure needs its colours.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import MaxNLocator

from dlbook.style import BLACK, BLUE, COLOURS, MARKERS, ORANGE, RED, SKY
from dlbook.tuning.analysis import MARGIN, Importance, edges, isolate, scale_of
from dlbook.tuning.ranking import feasible
from dlbook.tuning.scales import Choice, Integer, Linear, Log, OffOr, OneMinusLog, Scale
from dlbook.tuning.study import Done, Study

GREY = "0.6"
STAR = dict(marker="*", color=ORANGE, markersize=13, markeredgecolor=BLACK, linestyle="", zorder=5)
FULL = dict(marker="o", color=BLUE, linestyle="", alpha=0.8)
STOPPED = dict(marker="s", color=GREY, markerfacecolor="none", linestyle="", alpha=0.8)
DIVERGED = dict(marker="x", color=RED, linestyle="", clip_on=False)
MOST_TICKS = 6


def axis(ax: Axes, study: Study, name: str) -> Axes:
    """The loss of each trial against one hyperparameter, with a warning where the best lie at an end of its range."""
    scale = scale_of(study, name)
    _loss_axis(ax, study)
    _hyper_axis(ax.xaxis, scale, name)
    for trials, look, label in _groups(study):
        x = [scale.unit(one.config[name]) + _aside(scale, one.trial) for one in trials]
        diverged = look is DIVERGED
        y = [0.97 if diverged else one.loss for one in trials]
        transform = ax.get_xaxis_transform() if diverged else ax.transData
        ax.plot(x, y, label=label, transform=transform, **look)
    end = edges(study).get(name)
    if end is not None:
        low = end == "low"
        ax.axvspan(
            *((0, MARGIN) if low else (1 - MARGIN, 1)),
            facecolor="none",
            edgecolor=RED,
            hatch="///",
            alpha=0.4,
        )
        words = f"the best lie at the {end} end:\na wider range may be better"
        box = dict(facecolor="white", edgecolor="none", pad=1, alpha=0.85)  # it may lie on points
        place = dict(va="top", ha="left" if low else "right", transform=ax.transAxes)
        ax.text(0.13 if low else 0.87, 0.9, words, bbox=box, **place)
    return ax


def isolation(ax: Axes, study: Study, name: str, bins: int = 5) -> Axes:
    """The best loss in each part of one axis, over all trials in that part; below, how many there were."""
    parts = isolate(study, name, bins)
    _loss_axis(ax, study)
    for k, part in enumerate(parts):
        fit = [study.losses[trial] for trial in part.trials if feasible(study.losses[trial])]
        ax.plot([k] * len(fit), fit, marker="_", color=GREY, linestyle="")
    known = [(k, part.best.loss) for k, part in enumerate(parts) if part.best is not None]
    ax.plot(*zip(*known, strict=True), marker="D", color=BLUE, label="best of the part")
    ax.set_xticks(
        range(len(parts)), [f"{part.label}\n{len(part.trials)} trials" for part in parts], fontsize=9
    )
    ax.set(xlabel=name, xlim=(-0.5, len(parts) - 0.5))
    ax.legend()
    return ax


def parallel(ax: Axes, study: Study, best: int = 5) -> Axes:
    """Every trial a line through its hyperparameters to its rank, with the best of all at the top."""
    scales, ranks = study.check_space().scales, {one.trial: rank for rank, one in enumerate(study.top())}
    small = dict(
        va="center", fontsize=8.5, bbox=dict(facecolor="white", edgecolor="none", pad=0.5, alpha=0.8)
    )
    for one in study.trials.values():
        rank = ranks.get(one.trial)
        heights = [scale.unit(one.config[name]) for name, scale in scales.items()]
        heights.append(-0.06 if rank is None else 1 - rank / max(len(ranks) - 1, 1))
        look = dict(color=GREY, linewidth=0.7, alpha=0.5, marker="")
        if rank is None:
            look |= dict(color=RED, linestyle=":")
        elif rank < best:
            look = dict(color=BLUE, linewidth=1.8, marker="o", zorder=3)
        ax.plot(heights, **look)
        if rank == 0:
            ax.plot([len(scales)], [1], **STAR)
    for k, scale in enumerate(scales.values()):
        for height, label in zip(*ticks(scale), strict=True):
            ax.text(k - 0.05, height, label, ha="right", zorder=4, **small)
    last = len(scales)
    ax.text(last + 0.08, 1, "best", **small)
    ax.text(last + 0.08, 0, "worst", **small)
    if study.infeasible:
        ax.text(last + 0.08, -0.06, f"diverged ({len(study.infeasible)})", **small)
    ax.vlines(range(last + 1), 0, 1, color=BLACK, linewidth=1)
    ax.set_xticks(range(last + 1), [*scales, "rank"])
    ax.set(xlim=(-0.4, last + 0.4), ylim=(-0.1, 1.04), yticks=[])
    ax.grid(False)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(length=0)
    return ax


def curves(ax: Axes, study: Study, best: int = 1) -> Axes:
    """The learning curve of each trial; thick for the best, dashed to a cross for those that diverged."""
    leaders = {one.trial: k for k, one in enumerate(study.top(best))}
    _loss_axis(ax, study)
    for trial in study.trials:
        resources, losses = study.curve(trial)
        ok = np.isfinite(losses)
        look = dict(color=GREY, linewidth=0.8, alpha=0.7, marker="" if len(losses) > 1 else ".")
        if trial in leaders:
            k = leaders[trial] % len(COLOURS)
            look = dict(color=COLOURS[k], marker=MARKERS[k], linewidth=2, zorder=4, label=f"trial {trial}")
        ax.plot(resources[ok], losses[ok], **look)
        if not ok.all():
            ax.plot(resources[~ok][:1], [0.97], transform=ax.get_xaxis_transform(), **DIVERGED)
    ax.set_xlabel("resource")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if leaders:
        ax.legend()
    return ax


def rungs(ax: Axes, study: Study) -> Axes:
    """Who went on: the loss of each trial at each rung, joined from rung to rung, and above how many there were."""
    ends = sorted({one.resource for one in study.done if one.resource is not None})
    if not ends:
        raise ValueError("study must be of a search with a scheduler, got one without: there are no rungs")
    _loss_axis(ax, study)
    at = {end: [one for one in study.done if one.resource == end] for end in ends}
    for trial in study.trials:
        line = [(one.resource, one.loss) for one in study.done if one.trial == trial and feasible(one.loss)]
        if line:
            ax.plot(*zip(*line, strict=True), color=SKY, linewidth=0.9, marker="", zorder=1)
    for end, jobs in at.items():
        on = [one.loss for one in jobs if study.trials[one.trial].resource > end]
        off = [one.loss for one in jobs if study.trials[one.trial].resource == end and feasible(one.loss)]
        bad = len(jobs) - len(on) - len(off)
        ax.plot([end] * len(on), on, **FULL)
        ax.plot([end] * len(off), off, **(FULL if end == ends[-1] else STOPPED))
        if bad:
            ax.plot([end], [0.97], transform=ax.get_xaxis_transform(), **DIVERGED)
        words = f"{len(jobs)} trials" + f"\n{bad} diverged" * bool(bad)
        ax.text(end, 1.02, words, transform=ax.get_xaxis_transform(), ha="center", va="bottom", fontsize=9)
    for one in study.top(1):
        ax.plot([one.resource], [one.loss], **STAR)
    ax.set(xlabel="resource", xscale="log")
    ax.set_xticks(ends, [str(end) for end in ends])
    ax.minorticks_off()
    return ax


def importance(ax: Axes, result: Importance) -> Axes:
    """The share of the variance that each hyperparameter explains alone, and what is left to their interplay."""
    bars = [*result.shares.items(), ("together", result.together)]
    for k, (_, share) in enumerate(bars):
        last = k == len(bars) - 1
        look = dict(facecolor="none", hatch="///", edgecolor=GREY) if last else dict(color=BLUE)
        ax.barh(k, share, **look)
        ax.text(share + 0.01, k, f"{share:.2f}", va="center")
    ax.set_yticks(range(len(bars)), [name for name, _ in bars])
    ax.invert_yaxis()
    ax.set(xlabel=f"share of the variance (R² of the forest: {result.fit:.2f})", xlim=(0, 1.08))
    ax.grid(axis="y", visible=False)
    return ax


def schedule(ax: Axes, study: Study, name: str) -> Axes:
    """How one hyperparameter changed in population-based training: each member's line of descent, the best thick."""
    scale = scale_of(study, name)
    best = [one.trial for one in study.top(1)]
    for trial in study.trials:
        jobs = study.lineage(trial)
        x = [point for one in jobs for point in (one.start, one.resource)]
        y = [scale.unit(one.config[name]) for one in jobs for _ in range(2)]
        strong = dict(color=BLUE, linewidth=2.5, marker="", zorder=3, label=f"trial {trial}, the best")
        ax.plot(
            x, y, **(strong if trial in best else dict(color=GREY, linewidth=0.9, linestyle="--", marker=""))
        )
    _hyper_axis(ax.yaxis, scale, name)
    ax.set_xlabel("resource")
    if best:
        ax.legend()
    return ax


def ticks(scale: Scale) -> tuple[list[float], list[str]]:
    """A few places on the axis of a scale, between 0 and 1, and the values that lie there."""
    if isinstance(scale, Choice):
        values, labels = list(scale.options), [str(option) for option in scale.options]
    elif isinstance(scale, OffOr):
        places, labels = ticks(scale.scale)
        inner = [scale.share + (1 - scale.share) * place for place in places]
        return [scale.share / 2, *inner], [_short(scale.off), *labels]
    else:
        values = _round_values(scale)
        labels = [_short(value) for value in values]
    return [float(scale.unit(value)) for value in values], labels


def _round_values(scale: Scale) -> list:
    """Powers of ten on a log scale, if there are two; else nice steps, or the ends and the middle."""
    if isinstance(scale, Log | OneMinusLog) or (isinstance(scale, Integer) and scale.log):
        one_minus = isinstance(scale, OneMinusLog)
        powers = [10.0**k for k in range(-12, 13)]
        values = [1 - power for power in reversed(powers) if power <= 1] if one_minus else powers
        values = [value for value in values if scale.low <= value <= scale.high]
        if len(values) >= 2:
            return values[:: -(-len(values) // MOST_TICKS)]
    elif isinstance(scale, Linear | Integer):
        steps = MaxNLocator(MOST_TICKS - 1, integer=isinstance(scale, Integer)).tick_values(
            scale.low, scale.high
        )
        return [value for value in steps.tolist() if scale.low <= value <= scale.high]
    return [scale.value(u) for u in (0, 0.5, 1)]


def _short(value: object) -> str:
    if isinstance(value, float) and value > 0 and not 0.001 <= value <= 9999:
        exponent = np.log10(value)
        if abs(exponent - round(exponent)) < 1e-9:
            return f"$10^{{{round(exponent)}}}$"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _groups(study: Study) -> list[tuple[list[Done], dict, str]]:
    """The trials by how they ended, how each kind is drawn, and what the legend says; the best apart."""
    top, trials = study.top(), list(study.trials.values())
    longest = top[0].resource if top else None
    kinds = [
        (
            [one for one in top if one.resource == longest][1:],
            FULL,
            "trained longest" if longest else "trials",
        ),
        ([one for one in top if one.resource != longest], STOPPED, "stopped early"),
        ([one for one in trials if not feasible(one.loss)], DIVERGED, "diverged"),
        (top[:1], STAR, "best"),
    ]
    return [
        (group, look, f"{label} ({len(group)})" if len(group) > 1 else label)
        for group, look, label in kinds
        if group
    ]


def _loss_axis(ax: Axes, study: Study) -> None:
    """A log axis where losses differ by more than a factor of 20."""
    losses = [one.loss for one in study.done if feasible(one.loss)]
    if losses and 0 < 20 * min(losses) < max(losses):
        ax.set_yscale("log")
    ax.set_ylabel("loss")


def _hyper_axis(of: Axis, scale: Scale, name: str) -> None:
    """An axis from one end of the range to the other, as the scale bends it."""
    of.set_ticks(*ticks(scale))
    of.set_label_text(name)
    of.axes.set(**{f"{of.axis_name}lim": (-0.03, 1.03)})


def _aside(scale: Scale, trial: int) -> float:
    """Trials with the same option of a `Choice` are drawn beside each other, within its part of the axis."""
    golden = 0.618033988749895  # multiples of it fill [0, 1) evenly
    return (trial * golden % 1 - 0.5) * 0.6 / len(scale.options) if isinstance(scale, Choice) else 0.0
