"""What does a `Study` of 10,000 trials cost? Time and memory of everything that is asked of one.

    python -m benchmarks.studies [--quick]

The same for 1,000 trials beside it: a cost that grows in proportion is ten times as much. The trials do nothing; each
has two hyperparameters, a curve of three points and an accuracy.
"""

import argparse
import tempfile
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import timing, work
from dlbook.tuning import Result, Study, run

TRIALS = (1_000, 10_000)


def main(arguments: Sequence[str] | None = None) -> Path:
    """Measure, print, write `studies.json`; the path of it."""
    options = _options(arguments)
    sizes = (20, 200) if options.quick else TRIALS
    rows, arms = [], []
    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            store = Path(folder) / f"{n}.jsonl"
            study = make(n, store)
            rows.append({"what": "megabytes in memory", "models": n, "megabytes": [held(study)]})
            rows.append(
                {"what": "megabytes of store", "models": n, "megabytes": [store.stat().st_size / 1e6]}
            )
            arms += [timing.Arm(call, n, {"what": what, "models": n}) for what, call in asked(study, store)]
        check([arm for arm in arms if arm.about["what"] == "read the store"], sizes)
        for arm in arms:
            arm.call()
        rows = timing.race(arms, options.rounds) + rows
    print(show(rows))
    return timing.write("studies", rows, {"rounds": options.rounds, "quick": options.quick}, options.out)


def nothing(config: dict[str, Any]) -> Result:
    """The objective: one configuration, or many at once."""
    lr = config["lr"]
    return Result(lr, None, [(1, 3 * lr), (2, 2 * lr), (3, lr)], {"accuracy": 1 - lr})


def make(n: int, store: Path | None = None) -> Study:
    """A study of `n` trials, written to a store."""
    return run(nothing, work.SPACE, work.SAMPLER, n=n, store=store, engine="vectorised")


def asked(study: Study, store: Path) -> list[tuple[str, Callable[[], Any]]]:
    """Everything that costs something, and how to ask for it. Each has a new study: some of it is remembered."""

    def fresh() -> Study:
        return Study(study.done, study.space)

    middle = len(study) // 2
    return [
        ("search", lambda: make(len(study))),
        ("read the store", lambda: Study.read(store, work.SPACE)),
        ("go on with the store, at its end", lambda: make(len(study), store)),
        ("best", lambda: fresh().best),
        ("table", lambda: fresh().table),
        ("what a notebook shows", lambda: fresh()._repr_html_()),
        ("one learning curve", lambda: fresh().curve(middle)),
        ("to_optuna", lambda: fresh().to_optuna()),
    ]


def check(arms: Sequence[timing.Arm], sizes: Sequence[int]) -> None:
    """ValueError unless what was read is what was made."""
    for arm, n in zip(arms, sizes, strict=True):
        made, read = make(n), arm.call()
        if [one._replace(seconds=0) for one in made.done] != [one._replace(seconds=0) for one in read.done]:
            raise ValueError(f"the store must hold the {n} trials that were made, got {read!r}")


def held(study: Study) -> float:
    """The megabytes that a study holds, by making its parts again."""
    tracemalloc.start()
    copies = [type(one)(*map(_copied, one)) for one in study.done]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    copies.clear()
    return round(size / 1e6, 3)


def _copied(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else value


def show(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    small, large = sorted({row["models"] for row in rows})
    lines = []
    for row in rows:
        if row["models"] != large:
            continue
        other = timing.pick(rows, what=row["what"], models=small)
        unit, kind = ("ms", "seconds") if "seconds" in row else ("MB", "megabytes")
        scale = 1000 if unit == "ms" else 1
        value = timing.Spread.of(scale * v for v in row[kind])
        ratio = timing.Spread.of(a / b for a, b in zip(row[kind], other[kind], strict=True))
        lines.append((row["what"].removeprefix("megabytes "), f"{value} {unit}", ratio))
    head = ("what", f"{large:,} trials", f"times {small:,} trials")
    return timing.table(head, lines) + "\n"


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="the folder for studies.json")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    options = parser.parse_args(arguments)
    options.rounds = 2 if options.quick else options.rounds
    return options


if __name__ == "__main__":
    main()
