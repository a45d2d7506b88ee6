"""A model card that is written by the numbers of a run, and a rubric that asks what an honest card must say.

The sections are those of Mitchell and others (2019), Model Cards for Model Reporting, shortened. A field that nobody
filled stays None, is printed as "not reported", and costs points: what is missing should show.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from math import ceil, log10
from typing import NamedTuple

from scipy.stats import beta

from dlbook.capstone.experiments import Paired

SILENT = "not reported"
AGREE = 1e-3  # logits of a port and its original may differ by this much


class Count(NamedTuple):
    """How many of how many."""

    k: int
    n: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The rates that `k` of `n` does not rule out (Clopper and Pearson 1934)."""
        low, high = (1 - level) / 2, (1 + level) / 2
        least = 0.0 if self.k == 0 else float(beta.ppf(low, self.k, self.n - self.k + 1))
        most = 1.0 if self.k == self.n else float(beta.ppf(high, self.k + 1, self.n - self.k))
        return least, most

    def __str__(self) -> str:
        least, most = (100 * end for end in self.interval())
        return (
            f"{self.k} of {self.n} ({100 * self.k / self.n:.1f} %, 95 % interval {least:.1f} to {most:.1f} %)"
        )


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known about a model. Losses are in nats, differences of accuracy in points."""

    name: str
    use: str
    not_for: str
    data: str
    # how it was found
    space: str | None = None
    edges: str | None = None  # what the edge check said, first and last
    edges_left: Sequence[str] = ()  # hyperparameters whose best values still lie at an end
    trials: int | None = None
    diverged: int | None = None
    studies: int = 1  # how many searches, each with its own draw
    # how it was measured
    searched_loss: float | None = None  # the smallest loss that the search saw
    fresh_loss: float | None = None  # the chosen configuration on seeds that did not choose it
    gains: Mapping[str, Paired] = field(default_factory=dict)  # over each baseline
    varies: str = ""  # what the seeds change
    # how it is used
    statistics: str | None = None  # of batch norm, at test time
    temperature: float | None = None
    calibration_error: float | None = None
    calibration_null: float | None = None  # 95 % of perfectly calibrated readers stay below
    target: float | None = None  # promised share of wrong answers
    threshold: float | None = None
    bound: float | None = None  # upper 95 % bound on the validation part
    ports: Mapping[str, float] = field(default_factory=dict)  # largest difference of a logit
    one_at_a_time: bool | None = None  # are the answers those of the batch?
    # the test
    looks: Sequence[str] = ()
    wrong: Count | None = None  # if every example is answered
    answered: Count | None = None
    wrong_answered: Count | None = None
    limits: Mapping[str, str] = field(default_factory=dict)  # a condition, and what was measured under it
    unknown: Sequence[str] = ()

    def __str__(self) -> str:
        """The card in Markdown."""
        lines = [f"**Model card: {self.name}**"]
        for title, rows in self.sections().items():
            lines += ["", f"| {title} | |", "|:---|:---|"]
            lines += [f"| {name} | {SILENT if value is None else value} |" for name, value in rows.items()]
        return "\n".join(lines)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._html()}

    def _html(self) -> str:
        left, lines = 'style="text-align: left"', []
        for title, rows in self.sections().items():
            lines.append(f'<tr><th colspan="2" scope="colgroup" {left}>{escape(title)}</th></tr>')
            for name, value in rows.items():
                said = f"<em>{SILENT}</em>" if value is None else escape(value)
                lines.append(f"<tr><td {left}>{escape(name)}</td><td {left}>{said}</td></tr>")
        caption = f"<caption>Model card: {escape(self.name)}</caption>"
        return f"<table>{caption}<tbody>{''.join(lines)}</tbody></table>"

    def sections(self) -> dict[str, dict[str, str | None]]:
        """The rows of each section, in words; None for what was not reported."""
        ports = "; ".join(f"{name}: {_below(off)}" for name, off in self.ports.items())
        at = None if self.threshold is None else f"answer from a confidence of {self.threshold:.2f}"
        promise = (
            None if self.target is None else f"at most {100 * self.target:g} % of the answers wrong, {at}"
        )
        return {
            "intended use": {"for": self.use, "not for": self.not_for, "data": self.data},
            "how it was found": {
                "search space": self.space,
                "ends of the ranges": self.edges,
                "trials": _number(self.trials, "d"),
                "diverged": _number(self.diverged, "d"),
                "searches": str(self.studies),
            },
            "how good it is, on validation digits": {
                "smallest loss in the search": _number(self.searched_loss, ".3f"),
                "loss on fresh seeds": _number(self.fresh_loss, ".3f"),
                **{f"points above {name}": str(gain) for name, gain in self.gains.items()},
                "a seed changes": self.varies or None,
            },
            "how it is run": {
                "batch norm": self.statistics,
                "temperature": _number(self.temperature, ".2f"),
                "calibration error": _against(self.calibration_error, self.calibration_null),
                "promise": promise,
                "bound on the validation part": _percent(self.bound),
                "largest difference of a logit": ports or None,
                "one at a time as in a batch": {None: None, True: "yes", False: "NO"}[self.one_at_a_time],
            },
            "the test part": {
                "opened for": "; ".join(self.looks) or None,
                "wrong, all answered": _words(self.wrong),
                "answered": _words(self.answered),
                "wrong among the answered": _words(self.wrong_answered),
            },
            "limits": {**self.limits, "not known": "; ".join(self.unknown) or None},
        }


def _below(value: float) -> str:
    """The next power of ten: how large a rounding error is differs from one processor to the next."""
    return "none" if value == 0 else f"below {10.0 ** ceil(log10(value)):.0e}"


def _number(value: float | None, form: str) -> str | None:
    return None if value is None else f"{value:{form}}"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"


def _words(value: object) -> str | None:
    return None if value is None else str(value)


def _against(error: float | None, null: float | None) -> str | None:
    if error is None:
        return None
    return f"{error:.3f}" + (
        "" if null is None else f"; a perfect reader stays below {null:.3f} in 95 of 100 samples"
    )


class Criterion(NamedTuple):
    """One question to a card: what it is worth, whether the card answers it, and what to say when it does not."""

    points: int
    question: str
    met: Callable[[Card], bool]
    missing: str


HONESTY = (
    Criterion(
        3,
        "The test part was opened once",
        lambda c: len(c.looks) == 1,
        "the test part must be opened once, for the one model that is shipped: opened twice, it has chosen",
    ),
    Criterion(
        3,
        "Paired seeds, five or more",
        lambda c: bool(c.gains) and all(gain.seeds >= 5 for gain in c.gains.values()),
        "no paired seeds: train both arms on the same five or more, and report the difference with its error",
    ),
    Criterion(
        2,
        "A simple model to beat",
        lambda c: len(c.gains) > 0,
        "no baseline: without something simple on the same data, a number has no meaning",
    ),
    Criterion(
        2,
        "The winner was measured again",
        lambda c: c.searched_loss is not None and c.fresh_loss is not None,
        "the winner's loss is that of the search, which chose it for being small: run it on fresh seeds, show both",
    ),
    Criterion(
        2,
        "Space stated, ends checked",
        lambda c: c.space is not None and c.edges is not None and not c.edges_left,
        "state the search space, and look whether the best values lie at an end of a range",
    ),
    Criterion(
        1, "Diverged trials counted", lambda c: c.diverged is not None, "count the trials that diverged"
    ),
    Criterion(
        1,
        "The search was repeated",
        lambda c: c.studies > 1,
        "one search: another draw of trials would have found another winner, and nobody knows how different",
    ),
    Criterion(
        1,
        "Statistics of batch norm named",
        lambda c: c.statistics is not None,
        "say which statistics batch norm uses at test time, or that there is none",
    ),
    Criterion(
        2,
        "Calibration beside its null",
        lambda c: c.calibration_error is not None and c.calibration_null is not None,
        "report the calibration error, and what a perfect model shows on as many examples",
    ),
    Criterion(
        2,
        "Threshold with a bound, then tested",
        lambda c: None not in (c.threshold, c.bound, c.answered, c.wrong_answered),
        "choose the threshold on validation data by an upper bound, then report error AND coverage on the test data",
    ),
    Criterion(
        2,
        "Ports proved",
        lambda c: bool(c.ports) and all(off < AGREE for off in c.ports.values()),
        f"no proof of the port: give the largest difference of a logit, below {AGREE:g}",
    ),
    Criterion(
        1,
        "One at a time as in a batch",
        lambda c: c.one_at_a_time is True,
        "show that one example alone gets the answer that it gets in a batch",
    ),
    Criterion(
        2,
        "Limits measured",
        lambda c: bool(c.limits) and bool(c.unknown),
        "measure one condition under which it fails, and say what is not known",
    ),
)
ACCURACY = (
    Criterion(
        2,
        "Better than every baseline, by two errors",
        lambda c: bool(c.gains) and all(gain.mean > 2 * gain.error for gain in c.gains.values()),
        "not better than every baseline by two standard errors",
    ),
    Criterion(
        1,
        "The promise held on the test part",
        lambda c: (
            c.target is not None
            and c.wrong_answered is not None
            and c.wrong_answered.k <= c.target * c.wrong_answered.n
        ),
        "no promise that the test part kept: promise a share of wrong answers, and count them",
    ),
)


class Review(NamedTuple):
    """What the rubric says of a card."""

    honesty: int
    accuracy: int
    missing: tuple[str, ...]

    def __str__(self) -> str:
        most = [sum(criterion.points for criterion in part) for part in (HONESTY, ACCURACY)]
        lines = [f"honesty {self.honesty} of {most[0]}, accuracy {self.accuracy} of {most[1]}"]
        return "\n".join([*lines, *(f"- {sentence}" for sentence in self.missing)])


def review(card: Card) -> Review:
    """Score a card. Honesty counts for far more than accuracy, which luck can improve; TypeError for no card."""
    if not isinstance(card, Card):
        raise TypeError(f"card must be a Card(name=..., use=..., ...), got {type(card).__name__}")
    scores = [sum(c.points for c in part if c.met(card)) for part in (HONESTY, ACCURACY)]
    return Review(*scores, tuple(c.missing for c in HONESTY + ACCURACY if not c.met(card)))
