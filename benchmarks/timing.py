"""Timing by ratios: the arms of a comparison take turns, and are compared round by round.

A machine gets slower and faster while a benchmark runs. So all arms run once in every round, every second round
backwards, and what is quoted is the median over the rounds of a ratio within a round, with the smallest and the
largest. What is written to `results/` are the seconds of every arm in every round; everything else follows from them.
"""

import datetime as dt
import gc
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "optuna",
    "cupy",
)


class Arm(NamedTuple):
    """One way to do the work: a function that does it, for how many trials, and what a table calls it."""

    call: Callable[[], Any]
    trials: int
    about: dict[str, Any]  # the columns that tell it from the others: {"engine": "local", "models": 64}


class Spread(NamedTuple):
    """A median with the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """That of several numbers; ValueError for none."""
        values = list(values)
        if not values:
            raise ValueError("values must hold at least one number, got none")
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        if self.low == self.high:
            return digits(self.median)
        return f"{digits(self.median)} ({digits(self.low)} to {digits(self.high)})"


def race(arms: Sequence[Arm], rounds: int, *, until: float = float("inf")) -> list[dict[str, Any]]:
    """Time every arm once per round, in turns; a row for each arm, with its seconds in each round.

    The arms must have run once before, since what is done only once is not timed here. No round begins after `until`,
    a moment of `time.perf_counter`, but the first.
    """
    seconds: list[list[float]] = [[] for _ in arms]
    gc.collect()
    gc.freeze()  # so that the collections below look at what the arms have left, and not at all of TensorFlow
    for number in range(rounds):
        if number and perf_counter() > until:
            break
        order = range(len(arms)) if number % 2 == 0 else reversed(range(len(arms)))
        for k in order:
            gc.collect()
            began = perf_counter()
            arms[k].call()
            seconds[k].append(perf_counter() - began)
    gc.unfreeze()
    return [
        {**arm.about, "trials": arm.trials, "seconds": [round(s, 7) for s in one]}
        for arm, one in zip(arms, seconds, strict=True)
    ]


def per_second(row: Mapping[str, Any]) -> Spread:
    """Trials per second of a row."""
    return Spread.of(row["trials"] / s for s in row["seconds"])


def faster(row: Mapping[str, Any], than: Mapping[str, Any]) -> Spread:
    """How many times the trials per second of `than` a row has, round by round."""
    pairs = zip(row["seconds"], than["seconds"], strict=True)
    return Spread.of((row["trials"] / ours) / (than["trials"] / theirs) for ours, theirs in pairs)


def pick(rows: Iterable[Mapping[str, Any]], **about: Any) -> Mapping[str, Any] | None:
    """The one row of these columns, None if there is none; ValueError if there are several."""
    found = [row for row in rows if all(row.get(name) == value for name, value in about.items())]
    if len(found) > 1:
        raise ValueError(f"{about} must name one row, got {len(found)}")
    return found[0] if found else None


def write(name: str, rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], folder: Path) -> Path:
    """`results/<name>.json`: date, machine, versions, settings and rows, which is all that a table needs."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    head = {"benchmark": name, "date": dt.datetime.now(dt.UTC).date().isoformat()}
    head |= {"machine": machine(), "versions": versions(), "settings": dict(settings)}
    lines = ",\n".join("    " + json.dumps(row) for row in rows)
    text = json.dumps(head, indent=2)[:-2] + f',\n  "rows": [\n{lines}\n  ]\n}}\n'
    path.write_text(text, encoding="utf-8")
    return path


def read(name: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """What `write` wrote, None if it never did."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def machine() -> dict[str, Any]:
    """The processor, how many of its cores this process may use, and the GPU if PyTorch sees one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    found = {"processor": _processor(), "cores": cores, "OMP_NUM_THREADS": threads}
    found |= {"system": f"{platform.system()} {platform.machine()}"}
    gpu = _gpu()
    return found | ({"gpu": gpu} if gpu else {})


def versions() -> dict[str, str]:
    """Of Python and of the packages that are compared, if they are installed."""
    found = {"python": platform.python_version()}
    for dist in importlib.metadata.distributions():
        name = (dist.metadata["Name"] or "").lower().replace("_", "-")
        if name in PACKAGES or name.startswith("cupy-"):
            found[name] = dist.version
    return dict(sorted(found.items()))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown, its columns as wide as they need to be; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in [list(head), *cells]) for k in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    title = "| " + " | ".join(cell.ljust(w) for cell, w in zip(head, widths, strict=True)) + " |"
    return "\n".join([title, "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines])


def digits(value: float) -> str:
    """A number as a table shows it: two digits, or all those before the point."""
    if value in (0, 1) or not abs(value) < float("inf"):
        return f"{value:g}"
    if abs(value) >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def _processor() -> str:
    """The name that the system has for it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpu() -> str | None:
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name(0) if torch is not None and torch.cuda.is_available() else None
