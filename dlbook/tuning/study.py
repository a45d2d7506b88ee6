"""The study: what a search found, from its best trial to the learning curve of its worst.

Sources: Godbole and others (2023), Deep Learning Tuning Playbook, on counting infeasible trials.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlbook.tuning import store as stores
from dlbook.tuning.ranking import best, feasible
from dlbook.tuning.space import Space


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
    """All jobs of a search. A trial is judged by its last one.

    `read` makes one of a store, also while the search is running.
    """

    def __init__(self, done: Sequence[Done], space: Space | None = None):
        self.done, self.space = tuple(done), space

    @classmethod
    def read(cls, path: str | Path, space: Space | None = None) -> "Study":
        """The study so far in the store of a search; figures need the `space` as well."""
        return cls([one for event in stores.read(path).events for one in told(event)], space)

    @cached_property
    def trials(self) -> dict[int, Done]:
        """The last job of each trial, in the order of their numbers."""
        last = {one.trial: one for one in self.done}
        return dict(sorted(last.items()))

    @property
    def losses(self) -> dict[int, float]:
        """The loss of each trial where it stopped."""
        return {trial: one.loss for trial, one in self.trials.items()}

    @property
    def infeasible(self) -> list[int]:
        """The trials that diverged: their last loss is NaN or infinite."""
        return [trial for trial, loss in self.losses.items() if not feasible(loss)]

    @property
    def best(self) -> Done:
        """The smallest loss among the feasible trials that were trained longest."""
        fit = {trial: one for trial, one in self.trials.items() if feasible(one.loss)}
        if not fit:
            raise ValueError(
                f"no trial is feasible, of {len(self.trials)}: try a space with smaller learning rates"
            )
        longest = max(one.resource or 0 for one in fit.values())
        losses = {trial: one.loss for trial, one in fit.items() if (one.resource or 0) == longest}
        return self.trials[best(losses, 1)[0]]

    @property
    def table(self) -> list[dict[str, Any]]:
        """A row for each trial: its number, its configuration, how long it was trained, its loss and other values."""
        return [
            {"trial": trial, **one.config}
            | ({} if one.resource is None else {"resource": one.resource})
            | {"loss": one.loss, **one.values}
            for trial, one in self.trials.items()
        ]

    def frame(self) -> Any:
        """The table as a pandas DataFrame."""
        try:
            import pandas as pd
        except ImportError:
            raise ImportError(
                "pandas is not installed: try `pip install pandas`, or study.table, a list of dictionaries"
            ) from None
        return pd.DataFrame(self.table).set_index("trial")

    def curve(self, trial: int) -> tuple[np.ndarray, np.ndarray]:
        """The resources and losses of a trial, job after job: all that it reported on the way, or the ends."""
        points = [
            point
            for one in self.done
            if one.trial == trial
            for point in (one.curve or [(one.resource or 1, one.loss)])
        ]
        if not points:
            raise ValueError(f"trial must be one of the {len(self.trials)} that were trained, got {trial!r}")
        resources, losses = zip(*points, strict=True)
        return np.array(resources), np.array(losses)

    def lineage(self, trial: int) -> list[Done]:
        """The jobs that made the weights of a trial, from the first on: those of its parents, then its own.

        In population-based training their configurations are the schedule that was found.
        """
        ends = {(one.trial, one.resource): one for one in self.done}
        line = [self.trials[trial]]
        while line[0].start:
            trial = line[0].trial if line[0].parent is None else line[0].parent
            line.insert(0, ends[trial, line[0].start])
        return line

    def __len__(self) -> int:
        return len(self.trials)

    def __repr__(self) -> str:
        words = [f"{len(self)} trials", f"{len(self.infeasible)} infeasible"]
        if len(self.infeasible) < len(self):
            words.append(f"best {self.best.loss:.4g} in trial {self.best.trial}: {self.best.config}")
        return f"Study({', '.join(words)})"


def told(event: Mapping[str, Any]) -> list[Done]:
    """The jobs of one line of a store."""
    return [
        Done(**one | {"curve": [tuple(point) for point in one.get("curve", ())]}) for one in event["told"]
    ]


def record(one: Done) -> dict[str, Any]:
    """A job as it is stored, without what goes without saying."""
    stored = one._asdict() | {"curve": [list(point) for point in one.curve], "values": dict(one.values)}
    return {name: value for name, value in stored.items() if name not in SILENT or value not in SILENT[name]}


SILENT = {"resource": [None], "start": [0], "parent": [None], "curve": [[]], "values": [{}]}
