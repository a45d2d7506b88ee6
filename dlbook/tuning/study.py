"""The study: what a search found, from its best trial to the learning curve of its worst.

Sources: Godbole and others (2023), Deep Learning Tuning Playbook, on counting the trials that are infeasible.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlbook.tuning import store as stores
from dlbook.tuning.ranking import feasible
from dlbook.tuning.space import Space

SHOWN = 10  # rows of the table that a notebook shows


class Done(NamedTuple):
    """A job with its result: `trial` was trained with `config` from `start` to `resource`, and had `loss` there."""

    trial: int
    config: dict[str, Any]
    loss: float
    resource: int | None = None  # None where there is no scheduler
    start: int = 0
    parent: int | None = None  # whose weights it took over at `start`, in population-based training
    curve: Sequence[tuple[float, float]] = ()  # (resource, loss) on the way, as the objective reported it
    values: Mapping[str, float] = {}  # what else it reported
    seconds: float = 0.0


class Study:
    """All jobs of a search, in the order in which they ended. A trial is judged by its last one."""

    def __init__(self, done: Sequence[Done], space: Space | None = None):
        self.done, self.space = tuple(done), space

    @classmethod
    def read(cls, path: str | Path, space: Space | None = None) -> "Study":
        """What a search has put in its store, also while it is running. Most figures need the `space` as well."""
        return cls([one for event in stores.read(path).events for one in told(event)], space)

    @cached_property
    def trials(self) -> dict[int, Done]:
        """The last job of each trial, in the order of their numbers."""
        return {trial: jobs[-1] for trial, jobs in sorted(self._jobs.items())}

    @cached_property
    def _jobs(self) -> dict[int, list[Done]]:
        """All jobs of each trial, so that a curve need not look through those of the others."""
        jobs: dict[int, list[Done]] = {}
        for one in self.done:
            jobs.setdefault(one.trial, []).append(one)
        return jobs

    @property
    def losses(self) -> dict[int, float]:
        """The loss of each trial where it stopped."""
        return {trial: one.loss for trial, one in self.trials.items()}

    @property
    def infeasible(self) -> list[int]:
        """The trials that diverged: their last loss is NaN or infinite."""
        return [trial for trial, loss in self.losses.items() if not feasible(loss)]

    def top(self, k: int | None = None) -> list[Done]:
        """The best `k` trials, or all feasible ones, from the best down: those trained longest come first."""
        fit = [one for one in self.trials.values() if feasible(one.loss)]
        return sorted(fit, key=lambda one: (-(one.resource or 0), one.loss, one.trial))[:k]

    @property
    def best(self) -> Done:
        """The best trial, with its `config` and `loss`."""
        first = self.top(1)
        if not first:
            raise ValueError(
                f"study must have a feasible trial, got {len(self)} of which none is: try smaller learning rates"
            )
        return first[0]

    @property
    def table(self) -> list[dict[str, Any]]:
        """A row for each trial: its number, its configuration, how long it was trained, its loss and other values."""
        return [_row(one) for one in self.trials.values()]

    def frame(self) -> Any:
        """The table as a pandas DataFrame."""
        try:
            import pandas as pd
        except ImportError:
            raise ImportError(
                "pandas is not installed: try `pip install pandas`, or study.table, a list of dictionaries"
            ) from None
        return pd.DataFrame(self.table)

    def curve(self, trial: int) -> tuple[np.ndarray, np.ndarray]:
        """Resources and losses of a trial: what it reported on the way, or else where its jobs ended."""
        self.check_trial(trial)
        points = [
            point for one in self._jobs[trial] for point in (one.curve or [(one.resource or 1, one.loss)])
        ]
        resources, losses = zip(*points, strict=True)
        return np.array(resources, float), np.array(losses, float)

    def lineage(self, trial: int) -> list[Done]:
        """The jobs that made the weights of a trial, from the first on: those of its ancestors, then its own.

        In population-based training their configurations are the schedule that was found.
        """
        self.check_trial(trial)
        ends = {(one.trial, one.resource): one for one in self.done}
        line = [self.trials[trial]]
        while line[0].start:
            one = line[0]
            line.insert(0, ends[one.trial if one.parent is None else one.parent, one.start])
        return line

    def to_optuna(self) -> Any:
        """The same trials as an Optuna study, for all of Optuna's plots: `plot_slice(study.to_optuna())`.

        Trials that a scheduler stopped are PRUNED there, and those that diverged FAIL. A hyperparameter on the log
        scale of 1 - value is there as "1 - value", on a log scale, since Optuna has no such scale.
        """
        from dlbook.tuning.optuna_study import to_optuna

        return to_optuna(self)

    def check_space(self) -> Space:
        """The space; ValueError for a study that was read without."""
        if self.space is None:
            raise ValueError("study must know its space, got None: write Study.read(path, space)")
        return self.space

    def check_trial(self, trial: int) -> None:
        """ValueError for a trial that is not in the study."""
        if trial not in self.trials:
            raise ValueError(f"trial must be one of the {len(self)} in the study, got {trial!r}")

    def __len__(self) -> int:
        return len(self.trials)

    def __repr__(self) -> str:
        words = [f"{len(self)} trials", f"{len(self.infeasible)} infeasible"]
        words += [f"best {one.loss:.4g} in trial {one.trial}: {one.config}" for one in self.top(1)]
        return f"Study({', '.join(words)})"

    def _repr_html_(self) -> str:
        rows = [_row(one) for one in self.top(SHOWN)]
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = ["".join(f"<td>{_short(row.get(name))}</td>" for name in names) for row in rows]
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        what = f"The best {len(rows)} of {len(self)} trials, {len(self.infeasible)} of them infeasible"
        return f"<table><caption>{what}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def told(event: Mapping[str, Any]) -> list[Done]:
    """The jobs of one line of a store."""
    if "told" not in event:
        raise ValueError(
            f"path must be the store of a search, as `run` writes it, got a line with {list(event)}"
        )
    return [
        Done(**one | {"curve": [tuple(point) for point in one.get("curve", ())]}) for one in event["told"]
    ]


def record(one: Done) -> dict[str, Any]:
    """A job as it is stored: without what goes without saying."""
    silent = Done._field_defaults | {"curve": []}
    stored = one._asdict() | {"curve": [list(point) for point in one.curve], "values": dict(one.values)}
    return {name: value for name, value in stored.items() if name not in silent or value != silent[name]}


def _row(one: Done) -> dict[str, Any]:
    resource = {} if one.resource is None else {"resource": one.resource}
    return {"trial": one.trial, **one.config, **resource, "loss": one.loss, **one.values}


def _short(value: Any) -> str:
    return escape(f"{value:.4g}" if isinstance(value, float) else str(value))
